// SPDX-License-Identifier: GPL-2.0
/*
 * NVMe commands on every kind of io_uring, at every depth, with everything a
 * ring can do to a request: links, drains, fixed files, workers, timeouts,
 * cancellation, and the ring, the file or the process gone under way.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <liburing.h>

#include "p2pbuf_test_load.h"

#define SIZE	(64 * PTN_MIB)
#define DEV	PTN_READ_AREA

FIXTURE(ring) {
	struct ptn_rig rig;
	struct ptn_load load;
};

FIXTURE_VARIANT(ring) {
	__u32 flags;
};

FIXTURE_VARIANT_ADD(ring, plain) {
	.flags = 0,
};

FIXTURE_VARIANT_ADD(ring, coop_taskrun) {
	.flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER,
};

FIXTURE_VARIANT_ADD(ring, defer_taskrun) {
	.flags = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER,
};

FIXTURE_VARIANT_ADD(ring, sqpoll) {
	.flags = IORING_SETUP_SQPOLL,
};

FIXTURE_VARIANT_ADD(ring, iopoll) {
	.flags = IORING_SETUP_IOPOLL,
};

FIXTURE_VARIANT_ADD(ring, iopoll_defer) {
	.flags = IORING_SETUP_IOPOLL | IORING_SETUP_DEFER_TASKRUN |
		 IORING_SETUP_SINGLE_ISSUER,
};

FIXTURE_VARIANT_ADD(ring, iopoll_sqpoll) {
	.flags = IORING_SETUP_IOPOLL | IORING_SETUP_SQPOLL,
};

FIXTURE_SETUP(ring)
{
	PTN_RIG_OPEN(&self->rig, .kind = PTN_VRAM, .size = SIZE,
		     .ring_flags = variant->flags, .entries = 256);
}

FIXTURE_TEARDOWN(ring)
{
	ptn_rig_close(&self->rig);
}

TEST_F_TIMEOUT(ring, depths, 60)
{
	static const unsigned int depths[] = { 1, 2, 3, 8, 32, 64, 127, 128 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(depths); i++) {
		ASSERT_EQ(0, ptn_load_init(&self->load, &self->rig, depths[i],
					   4096, 2 * depths[i] + 64));
		PTN_LOAD_GOOD(&self->load);
	}
}

TEST_F_TIMEOUT(ring, lengths, 60)
{
	static const struct {
		__u32 len, depth;
	} shapes[] = {
		{ 512, 32 }, { 64 * PTN_KIB, 32 }, { PTN_MIB, 16 },
		{ PTN_MIB + 512, 16 }, { 4 * PTN_MIB, 8 }, { 15 * PTN_MIB, 4 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		ASSERT_EQ(0, ptn_load_init(&self->load, &self->rig,
					   shapes[i].depth, shapes[i].len,
					   2 * shapes[i].depth));
		PTN_LOAD_GOOD(&self->load);
	}
}

TEST_F(ring, fixed_file)
{
	ASSERT_EQ(0, ptn_load_init(&self->load, &self->rig, 32, 4096, 200));
	ASSERT_EQ(0, io_uring_register_files(&self->rig.ring, &self->rig.node,
					     1));
	/* The ring alone keeps the file from here. */
	close(self->rig.node);
	self->rig.node = -1;
	self->load.node = 0;
	self->load.sqe_flags = IOSQE_FIXED_FILE;
	PTN_LOAD_GOOD(&self->load);
}

/* From the worker at once: the path that may sleep. */
TEST_F(ring, async)
{
	ASSERT_EQ(0, ptn_load_init(&self->load, &self->rig, 32, 4096, 200));
	self->load.sqe_flags = IOSQE_ASYNC;
	PTN_LOAD_GOOD(&self->load);
	ASSERT_EQ(0, ptn_load_init(&self->load, &self->rig, 4, 15 * PTN_MIB,
				   8));
	self->load.sqe_flags = IOSQE_ASYNC;
	PTN_LOAD_GOOD(&self->load);
}

/* User space may do with an SQE what it likes once it was submitted. */
TEST_F(ring, sqe_overwritten_after_submission)
{
	struct ptn_rig *rig = &self->rig;
	char *map = rig->buffer.map;
	int i, round, flags;

	if (variant->flags & IORING_SETUP_SQPOLL)
		SKIP(return, "the kernel takes SQEs when it likes");
	ASSERT_EQ(0, ptn_load_init(&self->load, rig, 1, 4096, 1));
	for (round = 0; round < 4; round++) {
		flags = round % 2 ? IOSQE_ASYNC : 0;
		ptn_poison(map, 64 * 4096);
		for (i = 0; i < 64; i++) {
			struct io_uring_sqe *sqe = ptn_sqe(&rig->ring);
			struct ptn_io io = {
				.op = PTN_READ, .id = rig->id, .buf = i * 4096,
				.dev = DEV + i * 4096, .len = 4096,
			};

			ptn_prep(sqe, rig->node, &io);
			sqe->flags |= flags;
		}
		ASSERT_EQ(64, io_uring_submit(&rig->ring));
		memset(rig->ring.sq.sqes, 0xff,
		       rig->ring.sq.ring_entries * sizeof(struct io_uring_sqe));
		for (i = 0; i < 64; i++)
			EXPECT_EQ(4096, ptn_wait(&rig->ring, NULL));
		EXPECT_EQ(64 * 4096, ptn_check(map, 64 * 4096, PTN_LOAD_SEED,
					       DEV));
	}
}

/* Prepare a command with flags; its user_data tells its number. */
static void push(struct ptn_rig *rig, __u32 op, __u64 buf, __u64 dev,
		 __u32 len, __u32 flags, __u64 number)
{
	struct io_uring_sqe *sqe = ptn_sqe(&rig->ring);
	struct ptn_io io = {
		.op = op, .id = rig->id, .buf = buf, .dev = dev, .len = len,
	};

	ptn_prep(sqe, rig->node, &io);
	sqe->flags |= flags;
	sqe->user_data = number;
}

/* Write, read back to elsewhere, write that elsewhere, and so on. */
TEST_F(ring, linked)
{
	struct ptn_rig *rig = &self->rig;
	char *map = rig->buffer.map;
	__u32 len = 3 * PTN_MIB / 2;
	__u64 number;
	int i;

	ptn_fill(map, len, 1, 0);
	ptn_poison(map + 4 * PTN_MIB, 12 * PTN_MIB);
	for (i = 0; i < 3; i++) {
		push(rig, PTN_WRITE, 4 * PTN_MIB * i,
		     PTN_WRITE_AREA + i * 4 * PTN_MIB, len, IOSQE_IO_LINK,
		     2 * i);
		push(rig, PTN_READ, 4 * PTN_MIB * (i + 1),
		     PTN_WRITE_AREA + i * 4 * PTN_MIB, len,
		     i < 2 ? IOSQE_IO_LINK : 0, 2 * i + 1);
	}
	ASSERT_EQ(6, io_uring_submit(&rig->ring));
	for (i = 0; i < 6; i++) {
		EXPECT_EQ((int)len, ptn_wait(&rig->ring, &number));
		EXPECT_EQ(i, number);
	}
	EXPECT_EQ(len, ptn_check(map + 12 * PTN_MIB, len, 1, 0));
}

TEST_F(ring, broken_link)
{
	struct ptn_rig *rig = &self->rig;
	char *map = rig->buffer.map;
	__u64 number;
	int i, ret;

	ASSERT_EQ(0, ptn_load_init(&self->load, rig, 1, 4096, 1));
	ptn_poison(map, 16 * 4096);
	for (i = 0; i < 4; i++)
		push(rig, PTN_READ, i * 4096,
		     i == 1 ? rig->disk.size : DEV, 4096,
		     i < 3 ? IOSQE_IO_LINK : 0, i);
	ASSERT_EQ(4, io_uring_submit(&rig->ring));
	for (i = 0; i < 4; i++) {
		ret = ptn_wait(&rig->ring, &number);
		EXPECT_EQ(number == 0 ? 4096 :
			  number == 1 ? -ERANGE : -ECANCELED, ret);
	}
	EXPECT_EQ(4096, ptn_check(map, 4096, PTN_LOAD_SEED, DEV));
	EXPECT_EQ(15 * 4096, ptn_check_poison(map + 4096, 15 * 4096));
}

/* A drained command comes after all before it: it reads what they wrote. */
TEST_F(ring, drain)
{
	struct ptn_rig *rig = &self->rig;
	char *map = rig->buffer.map;
	__u32 len = 256 * PTN_KIB;
	__u64 number;
	int i;

	ptn_fill(map, 16 * len, 7, 0);
	ptn_poison(map + 16 * len, 16 * len);
	for (i = 0; i < 16; i++)
		push(rig, PTN_WRITE, i * len, PTN_WRITE_AREA + i * len, len,
		     0, i);
	push(rig, PTN_READ, 16 * len, PTN_WRITE_AREA, 16 * len, IOSQE_IO_DRAIN,
	     16);
	ASSERT_EQ(17, io_uring_submit(&rig->ring));
	for (i = 0; i < 17; i++)
		EXPECT_LT(0, ptn_wait(&rig->ring, &number));
	EXPECT_EQ(16, number);
	EXPECT_EQ(16 * len, ptn_check(map + 16 * len, 16 * len, 7, 0));
}

/* ---- cancellation ---------------------------------------------------------- */

/*
 * What became of a read of @len at @buf that may have been cancelled: all of
 * it arrived, or nothing was transferred.
 */
static bool all_or_nothing(const char *map, __u64 buf, __u32 len, int res)
{
	__u64 n;

	if (res == (int)len)
		n = ptn_check(map + buf, len, PTN_LOAD_SEED, DEV);
	else if (res == -ECANCELED || res == -EINTR)
		n = ptn_check_poison(map + buf, len);
	else
		n = 0;
	if (n != len)
		fprintf(stderr, "# buffer offset %llu: res %d, wrong at %llu\n",
			buf, res, n);
	return n == len;
}

TEST_F(ring, linked_timeout)
{
	struct ptn_rig *rig = &self->rig;
	struct __kernel_timespec soon = { .tv_nsec = 1 };
	__u32 lens[] = { 4096, PTN_MIB, 12 * PTN_MIB };
	struct io_uring_sqe *sqe;
	int round, i, res, io = 0;
	__u64 number;

	ASSERT_EQ(0, ptn_load_init(&self->load, rig, 1, 4096, 1));
	for (round = 0; round < 24; round++) {
		__u32 len = lens[round % 3];

		soon.tv_nsec = 1 + round * 100000;
		ptn_poison(rig->buffer.map, len);
		push(rig, PTN_READ, 0, DEV, len,
		     IOSQE_IO_LINK | (round & 4 ? IOSQE_ASYNC : 0), 1);
		sqe = ptn_sqe(&rig->ring);
		io_uring_prep_link_timeout(sqe, &soon, 0);
		sqe->user_data = 2;
		ASSERT_EQ(2, io_uring_submit(&rig->ring));
		for (i = 0; i < 2; i++) {
			res = ptn_wait(&rig->ring, &number);
			if (number == 1)
				io = res;
			else if (variant->flags & IORING_SETUP_IOPOLL)
				EXPECT_TRUE(res == -EINVAL ||
					    res == -ECANCELED);
		}
		EXPECT_TRUE(all_or_nothing(rig->buffer.map, 0, len, io));
	}
}

TEST_F(ring, cancel)
{
	struct ptn_rig *rig = &self->rig;
	__u32 lens[] = { 4096, PTN_MIB, 12 * PTN_MIB };
	struct io_uring_sqe *sqe;
	int round, i, res, io = 0;
	__u64 number;

	if (variant->flags & IORING_SETUP_IOPOLL)
		SKIP(return, "polled rings cannot cancel");
	ASSERT_EQ(0, ptn_load_init(&self->load, rig, 1, 4096, 1));
	for (round = 0; round < 24; round++) {
		__u32 len = lens[round % 3];

		ptn_poison(rig->buffer.map, len);
		push(rig, PTN_READ, 0, DEV, len, round & 4 ? IOSQE_ASYNC : 0,
		     1);
		if (round & 1)
			io_uring_submit(&rig->ring);
		sqe = ptn_sqe(&rig->ring);
		io_uring_prep_cancel64(sqe, 1, 0);
		sqe->user_data = 2;
		io_uring_submit(&rig->ring);
		for (i = 0; i < 2; i++) {
			res = ptn_wait(&rig->ring, &number);
			if (number == 1)
				io = res;
			else
				EXPECT_TRUE(!res || res == -EALREADY ||
					    res == -ENOENT);
		}
		EXPECT_TRUE(all_or_nothing(rig->buffer.map, 0, len, io));
	}
}

/* ---- ends ------------------------------------------------------------------ */

/* On a slow drive, so that commands are under way when something ends. */
FIXTURE(ending) {
	struct ptn_rig rig;
	struct ptn_load load;
};

FIXTURE_VARIANT(ending) {
	__u32 flags;
};

FIXTURE_VARIANT_ADD(ending, plain) {
	.flags = 0,
};

FIXTURE_VARIANT_ADD(ending, defer_taskrun) {
	.flags = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER,
};

FIXTURE_VARIANT_ADD(ending, sqpoll) {
	.flags = IORING_SETUP_SQPOLL,
};

FIXTURE_VARIANT_ADD(ending, iopoll) {
	.flags = IORING_SETUP_IOPOLL,
};

FIXTURE_VARIANT_ADD(ending, iopoll_defer) {
	.flags = IORING_SETUP_IOPOLL | IORING_SETUP_DEFER_TASKRUN |
		 IORING_SETUP_SINGLE_ISSUER,
};

FIXTURE_SETUP(ending)
{
	PTN_RIG_OPEN(&self->rig, .role = ptn_slow(), .kind = PTN_VRAM,
		     .size = SIZE, .ring_flags = variant->flags,
		     .entries = 256);
	/* fills the read area */
	ASSERT_EQ(0, ptn_load_init(&self->load, &self->rig, 1, 4096, 1));
}

FIXTURE_TEARDOWN(ending)
{
	ptn_rig_close(&self->rig);
}

/* Half short, half split; some by workers. */
static void push_many(struct ptn_rig *rig, int number)
{
	int i;

	for (i = 0; i < number; i++)
		push(rig, PTN_READ, i * PTN_MIB, DEV,
		     i % 2 ? PTN_MIB : 65536, i % 8 == 7 ? IOSQE_ASYNC : 0, i);
	io_uring_submit(&rig->ring);
}

#define MANY	32

/* The ring goes away. UNBIND waits for the I/O; after it nothing arrives. */
TEST_F(ending, ring_exit)
{
	struct ptn_rig *rig = &self->rig;
	int round;

	for (round = 0; round < 2; round++) {
		if (round) {
			rig->id = ptn_bind(rig->node, rig->buffer.dmabuf,
					   rig->disk.fd, 0);
			ASSERT_LT(0, rig->id);
			ASSERT_EQ(0, io_uring_queue_init(256, &rig->ring,
							 variant->flags));
		}
		push_many(rig, MANY);
		io_uring_queue_exit(&rig->ring);
		rig->ring.ring_fd = -1;
		EXPECT_EQ(0, ptn_unbind(rig->node, rig->id));
		ptn_poison(rig->buffer.map, MANY * PTN_MIB);
		usleep(50000);
		EXPECT_EQ(MANY * PTN_MIB,
			  ptn_check_poison(rig->buffer.map, MANY * PTN_MIB));
	}
}

/* The thread that waits for its own completions unbinds. */
TEST_F(ending, unbind_under_way)
{
	struct ptn_rig *rig = &self->rig;
	char *map = rig->buffer.map;
	bool whole[MANY];
	__u64 number = 0;
	int round, i, res;

	for (round = 0; round < 2; round++) {
		ptn_poison(map, MANY * PTN_MIB);
		push_many(rig, MANY);
		ASSERT_EQ(0, ptn_unbind(rig->node, rig->id));
		/* What did not arrive by now never will. */
		for (i = 0; i < MANY; i++) {
			__u64 len = i % 2 ? PTN_MIB : 65536;

			whole[i] = ptn_check(map + i * PTN_MIB, len,
					     PTN_LOAD_SEED, DEV) == len;
			EXPECT_EQ(whole[i] ? PTN_MIB - len : PTN_MIB,
				  ptn_check_poison(map + i * PTN_MIB +
						   (whole[i] ? len : 0),
						   whole[i] ? PTN_MIB - len :
						   PTN_MIB));
		}
		ptn_poison(map, MANY * PTN_MIB);
		for (i = 0; i < MANY; i++) {
			res = ptn_wait(&rig->ring, &number);
			EXPECT_EQ(!whole[number] ? -ENOENT :
				  number % 2 ? (int)PTN_MIB : 65536, res);
		}
		EXPECT_EQ(MANY * PTN_MIB,
			  ptn_check_poison(map, MANY * PTN_MIB));
		rig->id = ptn_bind(rig->node, rig->buffer.dmabuf,
				   rig->disk.fd, 0);
		ASSERT_LT(0, rig->id);
	}
}

struct unbinder {
	pthread_t thread;
	int node;
	int id;
	int ret;
};

static void *unbind_thread(void *arg)
{
	struct unbinder *u = arg;

	u->ret = ptn_unbind(u->node, u->id);
	return NULL;
}

TEST_F(ending, unbind_by_another_thread)
{
	struct ptn_rig *rig = &self->rig;
	struct unbinder u = { .node = rig->node };
	int round;

	for (round = 0; round < 2; round++) {
		ASSERT_EQ(0, ptn_load_init(&self->load, rig, 32, 65536,
					   1UL << 40));
		u.id = rig->id;
		ASSERT_EQ(0, pthread_create(&u.thread, NULL, unbind_thread,
					    &u));
		/* ends when all slots have failed */
		EXPECT_EQ(0, ptn_load_run(&self->load));
		ASSERT_EQ(0, pthread_join(u.thread, NULL));
		EXPECT_EQ(0, u.ret);
		EXPECT_EQ(-ENOENT, self->load.error);
		EXPECT_EQ(32, self->load.failed);
		EXPECT_EQ(0, self->load.wrong);
		rig->id = ptn_bind(rig->node, rig->buffer.dmabuf,
				   rig->disk.fd, 0);
		ASSERT_LT(0, rig->id);
	}
}

/* Closing the file unbinds only when its last command has ended. */
TEST_F(ending, close_under_way)
{
	struct ptn_rig *rig = &self->rig;
	__u64 number;
	int i, res;

	ptn_poison(rig->buffer.map, MANY * PTN_MIB);
	push_many(rig, MANY);
	while (variant->flags & IORING_SETUP_SQPOLL &&
	       io_uring_sq_ready(&rig->ring))
		sched_yield();
	close(rig->node);
	rig->node = -1;
	for (i = 0; i < MANY; i++) {
		res = ptn_wait(&rig->ring, &number);
		EXPECT_EQ(number % 2 ? (int)PTN_MIB : 65536, res);
		EXPECT_EQ(res, (int)ptn_check((char *)rig->buffer.map +
					      number * PTN_MIB, res,
					      PTN_LOAD_SEED, DEV));
	}
}

/*
 * A move waits for the I/O, which nobody reaps meanwhile: its end must not
 * depend on user space. The 30 seconds after which the nvme driver looks by
 * itself are more than this test has.
 */
TEST_F_TIMEOUT(ending, move_with_nobody_reaping, 20)
{
	struct ptn_rig *rig = &self->rig;
	int round, i;

	for (round = 0; round < 2; round++) {
		ptn_poison(rig->buffer.map, MANY * PTN_MIB);
		push_many(rig, MANY);
		EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
				      round % 2 ? P2PBUF_PLACEMENT_VRAM :
				      P2PBUF_PLACEMENT_SYSTEM, 0));
		for (i = 0; i < MANY; i++)
			EXPECT_LT(0, ptn_wait(&rig->ring, NULL));
		for (i = 0; i < MANY; i++)
			EXPECT_EQ(65536, ptn_check((char *)rig->buffer.map +
						   i * PTN_MIB, 65536,
						   PTN_LOAD_SEED, DEV));
	}
}

/* ---- processes ------------------------------------------------------------- */

/* A child with its own file, binding and ring; runs until it is killed. */
static void victim(struct ptn_rig *rig, struct ptn_load *load, __u32 flags,
		   int ready)
{
	struct io_uring ring;
	int node = ptn_open();
	int id = ptn_bind(node, rig->buffer.dmabuf, rig->disk.fd, 0);

	if (node < 0 || id < 0 || io_uring_queue_init(256, &ring, flags))
		_exit(1);
	load->node = node;
	load->id = id;
	load->ring = &ring;
	load->target = 1UL << 40;
	if (write(ready, "x", 1) != 1)
		_exit(1);
	ptn_load_run(load);
	_exit(1);
}

/*
 * What a dead process had in flight may end after waitpid(): its ring is
 * taken down by a worker. A move waits for all of it.
 */
static int settle(struct ptn_rig *rig)
{
	return ptx_move(rig->buffer.node, rig->buffer.handle,
			P2PBUF_PLACEMENT_SYSTEM, 0) ?:
	       ptx_move(rig->buffer.node, rig->buffer.handle,
			P2PBUF_PLACEMENT_VRAM, 0);
}

TEST_F_TIMEOUT(ending, killed, 60)
{
	struct ptn_rig *rig = &self->rig;
	int round, status, ready[2];
	char byte;
	pid_t pid;

	for (round = 0; round < 6; round++) {
		ASSERT_EQ(0, ptn_load_init(&self->load, rig, 32,
					   round % 2 ? 65536 : 2 * PTN_MIB,
					   1));
		self->load.sqe_flags = round % 3 == 2 ? IOSQE_ASYNC : 0;
		ASSERT_EQ(0, pipe(ready));
		pid = fork();
		if (!pid)
			victim(rig, &self->load, variant->flags, ready[1]);
		close(ready[1]);
		EXPECT_EQ(1, read(ready[0], &byte, 1));
		close(ready[0]);
		usleep(round * 3000);
		EXPECT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		/* It used our places on the disk and in the buffer. */
		ASSERT_EQ(0, settle(rig));
		ASSERT_EQ(0, ptn_load_init(&self->load, rig, 8, 4096, 32));
		PTN_LOAD_GOOD(&self->load);
	}
}

/* After the death of a process its I/O ends, and so does its access. */
TEST_F(ending, nothing_arrives_after_death)
{
	struct ptn_rig *rig = &self->rig;
	int status, ready[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, ptn_load_init(&self->load, rig, 32, 65536, 1));
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	if (!pid)
		victim(rig, &self->load, variant->flags, ready[1]);
	EXPECT_EQ(1, read(ready[0], &byte, 1));
	usleep(5000);
	EXPECT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, settle(rig));
	usleep(200000);
	ptn_poison(rig->buffer.map, SIZE);
	usleep(50000);
	EXPECT_EQ(SIZE, ptn_check_poison(rig->buffer.map, SIZE));
}

/* A child that inherited the file uses the same binding on its own ring. */
TEST_F(ring, forked)
{
	struct ptn_rig *rig = &self->rig;
	int status;
	pid_t pid;

	ASSERT_EQ(0, ptn_load_init(&self->load, rig, 16, 16384, 200));
	push(rig, PTN_READ, 60 * PTN_MIB, DEV, 2 * PTN_MIB, 0, 0);
	io_uring_submit(&rig->ring);
	pid = fork();
	if (!pid) {
		struct io_uring ring;

		if (io_uring_queue_init(64, &ring, variant->flags))
			_exit(1);
		self->load.ring = &ring;
		self->load.base = 16 * PTN_MIB;
		self->load.write_area += 64 * PTN_MIB;
		_exit(ptn_load_run(&self->load) || self->load.failed ||
		      self->load.wrong ? 2 : 0);
	}
	EXPECT_EQ(2 * (int)PTN_MIB, ptn_wait(&rig->ring, NULL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	PTN_LOAD_GOOD(&self->load);
}

/* ---- several rings ----------------------------------------------------------- */

#define RINGS	4

/*
 * Polled rings that share the drive's queues complete each other's commands,
 * and so does whoever waits for the end of a mapping.
 */
TEST_F_TIMEOUT(ring, several_rings, 60)
{
	struct ptn_rig *rig = &self->rig;
	static struct ptn_load load[RINGS];
	struct io_uring ring[RINGS];
	static volatile int stop;
	pthread_t thread[RINGS];
	void *failed;
	int i;

	/* submitted to by the thread that made it */
	if (variant->flags & IORING_SETUP_SINGLE_ISSUER)
		SKIP(return, "the rings are made by another thread");
	for (i = 0; i < RINGS; i++) {
		ASSERT_EQ(0, io_uring_queue_init(64, &ring[i],
						 variant->flags));
		ASSERT_EQ(0, ptn_load_init(&load[i], rig, 16, 4096,
					   1UL << 40));
		load[i].ring = &ring[i];
		load[i].base = i * PTN_MIB;
		load[i].write_area += i * PTN_MIB;
		load[i].random += i;
		load[i].stop = &stop;
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, ptn_load_thread,
					    &load[i]));
	}
	for (i = 0; i < 2; i++) {
		usleep(200000);
		EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
				      i % 2 ? P2PBUF_PLACEMENT_VRAM :
				      P2PBUF_PLACEMENT_SYSTEM, 0));
	}
	stop = 1;
	for (i = 0; i < RINGS; i++) {
		ASSERT_EQ(0, pthread_join(thread[i], &failed));
		EXPECT_EQ(NULL, failed);
		EXPECT_EQ(0, load[i].failed);
		EXPECT_EQ(0, load[i].wrong);
		EXPECT_LT(0, load[i].done);
	}
}

TEST_HARNESS_MAIN
