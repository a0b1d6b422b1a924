// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that die, become other programs, hand their files on and die, or
 * are too many, with I/O under way. What is left of them is nothing, and
 * nobody else's data changes.
 *
 * P2PBUF_KILLS says how many are killed; P2PBUF_SEED, when.
 */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <liburing.h>

#include "p2pbuf_test_drive.h"
#include "p2pbuf_test_until.h"

#define SIZE		(4 * PTN_MIB)
#define KILLS		60
#define CROWD		64
#define PATIENCE_MS	20000

/* Where victims write; the load's areas are left alone. */
#define SCRATCH_AREA	(200 * PTN_MIB)

FIXTURE(process) {
	struct ptn_rig rig;
	struct ptn_load load;
	int attachments;
	__u64 vram;
	__u64 random;
};

static __u64 vram_used(int node)
{
	struct drm_p2pbuf_device_info info;

	return ptx_device_info(node, &info) ? 0 : info.vram_used;
}

static __u64 number(const char *name, __u64 otherwise)
{
	const char *text = getenv(name);
	__u64 value = text ? strtoull(text, NULL, 0) : 0;

	return value ? value : otherwise;
}

FIXTURE_SETUP(process)
{
	PTN_RIG_OPEN(&self->rig, .role = ptn_slow(), .kind = PTN_VRAM,
		     .size = SIZE);
	self->attachments = ptd_attachments();
	self->vram = vram_used(self->rig.buffer.node);
	self->random = ptk_seed() * 0x9e3779b97f4a7c15ULL;
	ASSERT_EQ(0, ptn_load_init(&self->load, &self->rig, 8, 16384, 32));
}

#define until(condition)	ptk_until(condition, PATIENCE_MS)

FIXTURE_TEARDOWN(process)
{
	/* Files of the dead are let go of in the background. */
	EXPECT_TRUE(until(ptd_attachments() == self->attachments));
	EXPECT_TRUE(until(vram_used(self->rig.buffer.node) == self->vram));
	/* The rest of us does not notice. */
	PTN_LOAD_GOOD(&self->load);
	ptn_rig_close(&self->rig);
}

/* ---- one life ---------------------------------------------------------------- */

/* How far a victim has come, as it says itself. */
enum life {
	BORN,		/* also between two rounds */
	ALLOCATED,
	BOUND,
	UNDER_WAY,	/* the kernel has commands of it that are not reaped */
	LIFES,
};

static const char * const life_names[LIFES] = {
	"without anything", "with a buffer", "with a binding",
	"with I/O under way",
};

/* So many victims may be dead and still have VRAM that the drive is busy with. */
#define GHOSTS		16

/**
 * struct victim - one of those that are killed, and what it does
 * @said: shared with who kills it: enum life
 * @stays: once it has I/O under way it always has
 * @random: state of its choices
 */
struct victim {
	_Atomic int *said;
	bool stays;
	__u64 random;
};

/* A command of any size from a few blocks to several parts, not waited for. */
static void submit_any(struct io_uring *ring, int node, int id, __u64 *random)
{
	__u64 r = ptn_random(random);
	struct ptn_io io = {
		.op = r & 1 ? PTN_READ : PTN_WRITE,
		.id = id,
		.len = (r >> 8) % 512 * 4096 + 4096,
		.dev = SCRATCH_AREA,
	};
	struct io_uring_sqe *sqe = ptn_sqe(ring);

	ptn_prep(sqe, node, &io);
	if (r & 6)
		io_uring_submit(ring);
}

/* All that was prepared is the kernel's, which may be a thread of it. */
static void submit_rest(struct io_uring *ring)
{
	io_uring_submit(ring);
	while (io_uring_sq_ready(ring))
		sched_yield();
}

static void move_any(struct ptn_buffer *buffer, __u64 *random)
{
	ptx_move(buffer->node, buffer->handle, ptn_random(random) & 1 ?
		 P2PBUF_PLACEMENT_SYSTEM : P2PBUF_PLACEMENT_VRAM, 0);
}

/* For each command that ends there is a new one, until the end. */
static void stay_busy(struct victim *v, struct io_uring *ring, int node,
		      int id, struct ptn_buffer *buffer)
{
	unsigned int n;

	for (n = 1;; n++) {
		submit_any(ring, node, id, &v->random);
		submit_rest(ring);
		if (ptn_wait(ring, NULL) <= 0)
			_exit(2);
		if (n % 8 == 0)
			move_any(buffer, &v->random);
	}
}

/* Everything a user of the two nodes does, once; where it fails it goes on. */
static void live_once(struct victim *v, struct ptn_disk *disk)
{
	static const __u32 flags[] = {
		0, IORING_SETUP_SQPOLL,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	struct ptn_buffer buffer;
	struct io_uring ring;
	int node, id, i, n = 0;

	if (ptn_buffer_alloc(&buffer, PTN_VRAM, SIZE))
		_exit(1);
	*v->said = ALLOCATED;
	node = ptn_open();
	id = ptn_bind(node, buffer.dmabuf, disk->fd, 0);
	if (id > 0)
		*v->said = BOUND;
	if (io_uring_queue_init(16, &ring, flags[ptn_random(&v->random) % 3]))
		_exit(1);
	for (i = 0; i < 6; i++, n++)
		submit_any(&ring, node, id, &v->random);
	if (v->stays) {
		submit_rest(&ring);
		*v->said = UNDER_WAY;
		stay_busy(v, &ring, node, id, &buffer);
	}
	move_any(&buffer, &v->random);
	submit_rest(&ring);
	*v->said = UNDER_WAY;
	if (ptn_random(&v->random) & 1) {
		while (n--)
			ptn_wait(&ring, NULL);
		*v->said = BOUND;
	}
	if (ptn_random(&v->random) & 1)
		ptn_unbind(node, id);
	io_uring_queue_exit(&ring);
	close(node);
	ptn_buffer_free(&buffer);
	*v->said = BORN;
}

static void live(struct victim *v)
{
	struct ptn_disk disk;

	if (ptn_disk_open(ptn_slow(), &disk))
		_exit(1);
	for (;;)
		live_once(v, &disk);
}

/*
 * Half of them are killed at any instant of a life, from its begin on, and the
 * others at any instant of lives that keep commands under way: on a slow
 * machine few would come that far by chance.
 */
TEST_F_TIMEOUT(process, killed, 600)
{
	__u64 kills = number("P2PBUF_KILLS", KILLS), i, found[LIFES] = {};
	struct victim v;
	int status, life;
	pid_t pid;

	v.said = mmap(NULL, PTN_PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)v.said);
	ptn_fill(self->rig.buffer.map, SIZE, 5, 0);
	for (i = 0; i < kills; i++) {
		*v.said = BORN;
		v.stays = i % 2;
		v.random = ptn_random(&self->random);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			live(&v);
		if (v.stays)
			EXPECT_TRUE(until(*v.said == UNDER_WAY));
		usleep(ptn_random(&self->random) % 40000 * ptk_slow());
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status))
			TH_LOG("kill %llu: status %x", i, status);
		found[*v.said]++;
		EXPECT_TRUE(until(ptd_attachments() <
				  self->attachments + GHOSTS));
	}
	EXPECT_EQ(SIZE, ptn_check(self->rig.buffer.map, SIZE, 5, 0));
	printf("# %llu killed\n", i);
	for (life = 0; life < LIFES; life++)
		printf("# %llu of them %s\n", found[life], life_names[life]);
	EXPECT_LE(kills / 2, found[UNDER_WAY]);
	munmap((void *)v.said, PTN_PAGE);
}

/* ---- exec ---------------------------------------------------------------------- */

#define READS		32
#define READ_LEN	65536

/*
 * With a binding, and reads of a second under way where the drive is slow; the
 * first that ended has arrived.
 */
static void busy(struct ptn_rig *rig, int node, struct io_uring *ring)
{
	int id = ptn_bind(node, rig->buffer.dmabuf, rig->disk.fd, 0), i;

	if (id < 0 || io_uring_queue_init(64, ring, 0))
		_exit(1);
	for (i = 0; i < READS; i++) {
		struct ptn_io io = {
			.op = PTN_READ, .id = id, .buf = i * READ_LEN,
			.dev = PTN_READ_AREA + i * READ_LEN, .len = READ_LEN,
		};

		ptn_prep(ptn_sqe(ring), node, &io);
	}
	if (io_uring_submit(ring) != READS ||
	    ptn_wait(ring, NULL) != READ_LEN)
		_exit(1);
}

/*
 * A process becomes another program with its I/O under way; returns when it
 * did. @keep: the other program inherits the node.
 */
static pid_t become(struct ptn_rig *rig, bool keep)
{
	struct io_uring ring;
	int node, ready[2];
	char byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC))
		return -1;
	ptn_poison(rig->buffer.map, SIZE);
	pid = fork();
	if (!pid) {
		node = ptn_open();
		busy(rig, node, &ring);
		if (keep)
			fcntl(node, F_SETFD, 0);
		execl("/bin/sleep", "sleep", "1000", NULL);
		_exit(1);
	}
	close(ready[1]);
	/* Nothing comes; exec closes the other end. */
	if (read(ready[0], &byte, 1))
		pid = -1;
	close(ready[0]);
	return pid;
}

static void move_away_and_back(struct __test_metadata *_metadata,
			       struct ptn_rig *rig)
{
	EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
			      P2PBUF_PLACEMENT_SYSTEM, 0));
	EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
			      P2PBUF_PLACEMENT_VRAM, 0));
}

/*
 * Whom the binding belonged to is gone, and so is the binding: each read has
 * arrived in whole or not at all, and nothing else has.
 */
static void check_reads(struct __test_metadata *_metadata, struct ptn_rig *rig)
{
	int i, arrived = 0;

	for (i = 0; i < READS; i++) {
		char *p = (char *)rig->buffer.map + i * READ_LEN;

		if (ptn_check_poison(p, READ_LEN) == READ_LEN)
			continue;
		EXPECT_EQ(READ_LEN, ptn_check(p, READ_LEN, PTN_LOAD_SEED,
					      PTN_READ_AREA + i * READ_LEN))
			TH_LOG("read %d", i);
		arrived++;
	}
	/* One was waited for. */
	EXPECT_LT(0, arrived);
	EXPECT_EQ(SIZE - READS * READ_LEN,
		  ptn_check_poison((char *)rig->buffer.map + READS * READ_LEN,
				   SIZE - READS * READ_LEN));
	printf("# %d of %d reads arrived\n", arrived, READS);
}

/* Nor does anything come late. */
static void check_late(struct __test_metadata *_metadata, struct ptn_rig *rig)
{
	ptn_poison(rig->buffer.map, SIZE);
	usleep(300000);
	EXPECT_EQ(SIZE, ptn_check_poison(rig->buffer.map, SIZE));
}

/* The other program has none of it: ring, binding and I/O are gone. */
TEST_F_TIMEOUT(process, exec, 60)
{
	pid_t pid = become(&self->rig, false);
	int status;

	ASSERT_LT(0, pid);
	EXPECT_TRUE(until(ptd_attachments() == self->attachments));
	check_reads(_metadata, &self->rig);
	move_away_and_back(_metadata, &self->rig);
	check_reads(_metadata, &self->rig);
	check_late(_metadata, &self->rig);
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
}

/* What it inherits by intent lives as long as it does. */
TEST_F_TIMEOUT(process, exec_with_the_file, 60)
{
	pid_t pid = become(&self->rig, true);
	int status;

	ASSERT_LT(0, pid);
	if (self->attachments)
		EXPECT_EQ(self->attachments + 1, ptd_attachments());
	move_away_and_back(_metadata, &self->rig);
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_TRUE(until(ptd_attachments() == self->attachments));
	check_reads(_metadata, &self->rig);
	check_late(_metadata, &self->rig);
}

/* ---- files that outlive their sender ---------------------------------------------- */

static int send_fds(int sock, const int *fds, int nr, int id)
{
	char control[CMSG_SPACE(2 * sizeof(int))] = "";
	struct iovec iov = { .iov_base = &id, .iov_len = sizeof(id) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(nr * sizeof(int)),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(nr * sizeof(int));
	memcpy(CMSG_DATA(cmsg), fds, nr * sizeof(int));
	return sendmsg(sock, &msg, 0) == sizeof(id) ? 0 : -errno;
}

/* Returns the id that came along. */
static int receive_fds(int sock, int *fds, int nr)
{
	char control[CMSG_SPACE(2 * sizeof(int))] = "";
	int id = -1;
	struct iovec iov = { .iov_base = &id, .iov_len = sizeof(id) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != sizeof(id))
		return -EIO;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_len != CMSG_LEN(nr * sizeof(int)))
		return -ENOMSG;
	memcpy(fds, CMSG_DATA(cmsg), nr * sizeof(int));
	return id;
}

/* Makes a buffer and a binding, sends both, and dies with I/O under way. */
static void sender(struct ptn_disk *disk, int sock)
{
	struct ptn_buffer buffer;
	struct io_uring ring;
	struct ptn_io io = {
		.op = PTN_READ, .dev = SCRATCH_AREA, .len = SIZE,
	};
	int node = ptn_open(), id, fds[2];

	if (ptn_buffer_alloc(&buffer, PTN_VRAM, SIZE))
		_exit(1);
	id = ptn_bind(node, buffer.dmabuf, disk->fd, 0);
	if (id < 0 || io_uring_queue_init(16, &ring, 0))
		_exit(1);
	ptn_fill(buffer.map, SIZE, 9, 0);
	ptn_write(&ring, node, id, 0, SCRATCH_AREA, SIZE);
	io.id = id;
	fds[0] = node;
	fds[1] = buffer.dmabuf;
	if (send_fds(sock, fds, 2, id))
		_exit(1);
	ptn_poison(buffer.map, SIZE);
	ptn_prep(ptn_sqe(&ring), node, &io);
	io_uring_submit(&ring);
	raise(SIGKILL);
}

/* The receiver goes on with the dead one's buffer and binding. */
TEST_F_TIMEOUT(process, sender_dies, 60)
{
	struct ptn_rig *rig = &self->rig;
	int sock[2], fds[2], round, status, id;
	pid_t pid;
	void *p;

	for (round = 0; round < 4; round++) {
		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
					0, sock));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			sender(&rig->disk, sock[1]);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status))
			TH_LOG("status %x", status);
		/* Nobody receives every other one: it goes with the socket. */
		if (round & 1) {
			close(sock[0]);
			close(sock[1]);
			continue;
		}
		id = receive_fds(sock[0], fds, 2);
		ASSERT_LT(0, id);
		p = ptx_mmap(fds[1], SIZE, 0);
		ASSERT_NE(NULL, p);
		ptn_poison(p, SIZE);
		EXPECT_EQ((int)SIZE, ptn_read(&rig->ring, fds[0], id, 0,
					      SCRATCH_AREA, SIZE));
		EXPECT_EQ(SIZE, ptn_check(p, SIZE, 9, 0));
		munmap(p, SIZE);
		close(fds[0]);
		close(fds[1]);
		close(sock[0]);
		close(sock[1]);
	}
}

/* ---- a crowd ------------------------------------------------------------------------ */

/* One of many, with everything of its own but the disk. */
static void one_of_many(unsigned int i, int gate)
{
	struct ptn_load load = {
		.depth = 4, .len = 16384, .target = 12,
		.read_area = PTN_READ_AREA, .read_size = PTN_READ_SIZE,
		.write_area = PTN_WRITE_AREA + i * 4 * 16384ULL,
		.random = (ptk_seed() + i) * 0x9e3779b97f4a7c15ULL,
	};
	struct ptn_buffer buffer;
	struct io_uring ring;
	struct ptn_disk disk;
	char byte;

	if (read(gate, &byte, 1) || ptn_disk_open(ptn_slow(), &disk) ||
	    ptn_buffer_alloc(&buffer, PTN_VRAM, 256 * PTN_KIB) ||
	    io_uring_queue_init(8, &ring, 0))
		_exit(1);
	load.node = ptn_open();
	load.id = ptn_bind(load.node, buffer.dmabuf, disk.fd, 0);
	load.map = buffer.map;
	load.ring = &ring;
	if ((int)load.id < 0)
		_exit(2);
	if (i % 4 == 3)
		ptx_move(buffer.node, buffer.handle, P2PBUF_PLACEMENT_SYSTEM,
			 0);
	if (ptn_load_run(&load) || load.failed)
		_exit(3);
	_exit(load.wrong ? 4 : 0);
}

TEST_F_TIMEOUT(process, crowd, 120)
{
	int gate[2], status, i;
	pid_t pid[CROWD];

	ASSERT_EQ(0, pipe(gate));
	for (i = 0; i < CROWD; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			close(gate[1]);
			one_of_many(i, gate[0]);
		}
	}
	/* All at once. */
	close(gate[0]);
	close(gate[1]);
	for (i = 0; i < CROWD; i++) {
		ASSERT_EQ(pid[i], waitpid(pid[i], &status, 0));
		EXPECT_EQ(0, status)
			TH_LOG("process %d", i);
	}
}

TEST_HARNESS_MAIN
