// SPDX-License-Identifier: GPL-2.0
/*
 * Objects of a paged region as fixed buffers of an io_uring: who may, what it
 * costs, who waits for whom, and that every byte of a disk arrives. Files are
 * lib_file's, neighbours in host memory exporter_merge's.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <liburing.h>

#include "p2pbuf_test_paged.h"
#include "p2pbuf_test_until.h"

#define MIB		(1ULL << 20)
#define SIZE		(4 * MIB)
#define VRAM		P2PBUF_PLACEMENT_VRAM
#define SYSTEM		P2PBUF_PLACEMENT_SYSTEM
#define POISON		0xeeeeeeeeeeeeeeeeULL

FIXTURE(fixed)
{
	struct ptp_rig rig;
	struct ptn_disk disk;
	struct ptn_disk slow;
	struct drm_p2pbuf_gem_create bo;
	int fd;
	char *p;
	char *scratch;
};

FIXTURE_SETUP(fixed)
{
	int ret;

	self->slow.direct = -1;
	if (ptn_disk_open("main", &self->disk))
		SKIP(return, "no drive");
	/* Last: nobody gives the region back for who skips. */
	ret = ptp_open(&self->rig);
	if (ret == -ENODEV)
		SKIP(return, "no render node of the exporter");
	ASSERT_EQ(0, ret);
	ptn_disk_open("slow", &self->slow);
	self->scratch = ptn_memory(SIZE);
	ASSERT_NE(NULL, self->scratch);
	self->fd = self->rig.fd;
	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &self->bo));
	self->p = ptx_mmap(self->fd, SIZE, self->bo.mmap_offset);
	ASSERT_NE(NULL, self->p);
}

FIXTURE_TEARDOWN(fixed)
{
	if (self->p)
		munmap(self->p, SIZE);
	ptp_close(&self->rig);
}

static int fill_disk(char *scratch, int fd, __u64 seed)
{
	ptx_fill(scratch, SIZE, seed);
	return pwrite(fd, scratch, SIZE, 0) == (ssize_t)SIZE ? 0 : -errno;
}

static int reg(struct _test_data_fixed *self, __u32 placement)
{
	return ptp_register(&self->rig.ring, self->fd, self->bo.handle, 0,
			    placement);
}

static int unreg(struct _test_data_fixed *self)
{
	return ptp_unregister(&self->rig.ring, self->fd, 0);
}

/* Without the render node: as io_uring itself does it. */
static int empty_slot(struct io_uring *ring, unsigned int index)
{
	const struct iovec none = {};

	return io_uring_register_buffers_update_tag(ring, index, &none, NULL,
						    1);
}

TEST_F(fixed, every_error_has_its_number)
{
	const struct drm_p2pbuf_uring_cmd good = {
		.handle = self->bo.handle,
		.placement = VRAM,
		.flags = PTP_BOTH,
	};
	struct io_uring *r = &self->rig.ring;
	struct drm_p2pbuf_uring_cmd cmd;
	struct drm_p2pbuf_gem_create window;
	struct io_uring_sqe *sqe;
	const int fd = self->fd;

#define REFUSED(error, op, offset, length, field, value) do {		\
	cmd = good;							\
	cmd.field = value;						\
	ptp_prep_command(r, fd, op, offset, length, &cmd);		\
	EXPECT_EQ(-(error), ptp_one(r));				\
} while (0)
#define REG	P2PBUF_URING_REGISTER
#define UNREG	P2PBUF_URING_UNREGISTER

	REFUSED(EINVAL, 0, 0, 0, index, 0);
	REFUSED(EINVAL, UNREG + 1, 0, 0, index, 0);
	REFUSED(EINVAL, REG, 0, 0, flags, 0);
	REFUSED(EINVAL, REG, 0, 0, flags, 4);
	REFUSED(EINVAL, REG, 0, 0, placement, 0);
	REFUSED(EINVAL, REG, 0, 0, placement, VRAM | SYSTEM);
	REFUSED(EINVAL, REG, 0, 0, placement, 4);
	REFUSED(ENOENT, REG, 0, 0, handle, 999);
	REFUSED(EDOM, REG, 512, 0, index, 0);
	REFUSED(EDOM, REG, 0, 512, index, 0);
	REFUSED(ERANGE, REG, SIZE, 0, index, 0);
	REFUSED(ERANGE, REG, 4096, SIZE, index, 0);
	REFUSED(ERANGE, REG, -4096ULL, 4096, index, 0);
	REFUSED(EBADSLT, REG, 0, 0, index, PTP_SLOTS);
	REFUSED(EBADSLT, REG, 0, 0, index, ~0U);
	memset(&cmd, 0, sizeof(cmd));
	ptp_prep_command(r, fd, UNREG, 0, 0, &cmd);
	EXPECT_EQ(-EBADSLT, ptp_one(r));
	cmd.index = PTP_SLOTS;
	ptp_prep_command(r, fd, UNREG, 0, 0, &cmd);
	EXPECT_EQ(-EBADSLT, ptp_one(r));
	cmd.index = 0;
	ptp_prep_command(r, fd, UNREG, 4096, 0, &cmd);
	EXPECT_EQ(-EINVAL, ptp_one(r));
	REFUSED(EINVAL, UNREG, 0, 0, index, 0);

	sqe = ptp_prep_command(r, fd, REG, 0, 0, &good);
	sqe->ioprio = 1;
	EXPECT_EQ(-EINVAL, ptp_one(r));
	sqe = ptp_prep_command(r, fd, REG, 0, 0, &good);
	sqe->buf_index = 1;
	EXPECT_EQ(-EINVAL, ptp_one(r));

	ASSERT_EQ(0, ptx_create_window(fd, 4096, 0, &window));
	REFUSED(EPROTOTYPE, REG, 0, 0, handle, window.handle);
	EXPECT_EQ(0, ptp_pins(fd, self->bo.handle));

	ASSERT_EQ(0, reg(self, VRAM));
	REFUSED(EEXIST, REG, 0, 0, index, 0);
	EXPECT_EQ(-EBUSY, ptp_register(r, fd, self->bo.handle, 1, SYSTEM));
	EXPECT_EQ(1, ptp_pins(fd, self->bo.handle));
	ASSERT_EQ(0, unreg(self));
	EXPECT_EQ(-EBADSLT, unreg(self));
}

TEST_F(fixed, plain_region_is_refused)
{
	struct drm_p2pbuf_gem_create bo;
	int fd;

	munmap(self->p, SIZE);
	self->p = NULL;
	ASSERT_EQ(0, ptr_param("paged", "0"));
	ASSERT_EQ(0, ptr_rebind(&self->rig.region));
	fd = ptr_open(&self->rig.region);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ptx_create(fd, SIZE, VRAM, 0, &bo));
	EXPECT_EQ(-EMEDIUMTYPE, ptp_register(&self->rig.ring, fd, bo.handle, 0,
					     VRAM));
	EXPECT_EQ(0, ptp_pins(fd, bo.handle));
	close(fd);
}

TEST_F(fixed, registered_is_pinned)
{
	const __u32 h = self->bo.handle;
	const int fd = self->fd;

	ptx_fill(self->p, SIZE, 1);
	/* Goes where it is wanted, and stays. */
	ASSERT_EQ(0, ptx_move(fd, h, SYSTEM, 0));
	ASSERT_EQ(0, reg(self, VRAM));
	EXPECT_EQ(VRAM, ptx_placement(fd, h));
	EXPECT_EQ(1, ptp_pins(fd, h));
	EXPECT_EQ(-EBUSY, ptx_move(fd, h, SYSTEM, 0));
	ASSERT_EQ(0, unreg(self));
	EXPECT_EQ(0, ptp_pins(fd, h));
	EXPECT_EQ(0, ptx_move(fd, h, SYSTEM, 0));

	ASSERT_EQ(0, ptx_move(fd, h, VRAM, 0));
	ASSERT_EQ(0, reg(self, SYSTEM));
	EXPECT_EQ(SYSTEM, ptx_placement(fd, h));
	EXPECT_EQ(-EBUSY, ptx_move(fd, h, VRAM, 0));
	/* Twice is two pins. */
	ASSERT_EQ(0, ptp_register(&self->rig.ring, fd, h, 1, SYSTEM));
	EXPECT_EQ(2, ptp_pins(fd, h));
	ASSERT_EQ(1, empty_slot(&self->rig.ring, 1));
	EXPECT_EQ(1, ptp_pins(fd, h));
	ASSERT_EQ(0, unreg(self));
	EXPECT_EQ(0, ptx_move(fd, h, VRAM, 0));
	EXPECT_EQ(SIZE, ptx_check(self->p, SIZE, 1));
}

static int nobody(void)
{
	return setresgid(65534, 65534, 65534) ||
	       setresuid(65534, 65534, 65534);
}

/* In a child that has no privilege: 0, or the number of the step that failed. */
static int quota_child(struct _test_data_fixed *self, __u64 limit)
{
	const struct rlimit none = { 4096, 4096 };
	struct drm_p2pbuf_gem_create big, more;
	struct drm_p2pbuf_device_info info;
	struct io_uring r;

	/* Rings cost locked memory, too. */
	if (ptp_ring(&r, 0) || nobody())
		return 1;
	if (ptx_create(self->fd, limit, VRAM, 0, &big) ||
	    ptx_create(self->fd, 4096, VRAM, 0, &more))
		return 2;
	if (ptp_register(&r, self->fd, big.handle, 0, VRAM))
		return 3;
	if (ptp_register(&r, self->fd, more.handle, 1, VRAM) != -EDQUOT)
		return 4;
	if (ptx_device_info(self->fd, &info) || info.pin_used != limit)
		return 5;
	if (ptp_unregister(&r, self->fd, 0) ||
	    ptp_register(&r, self->fd, more.handle, 1, VRAM))
		return 6;
	if (ptx_device_info(self->fd, &info) || info.pin_used != 4096)
		return 7;
	if (setrlimit(RLIMIT_MEMLOCK, &none) ||
	    ptp_register(&r, self->fd, big.handle, 0, SYSTEM) != -EDQUOT)
		return 8;
	return 0;
}

TEST_F(fixed, registered_is_charged)
{
	struct drm_p2pbuf_device_info info;
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(quota_child(self, self->rig.info.pin_limit));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	/* Root's own count was never touched. */
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	EXPECT_EQ(0, info.pin_used);
}

TEST_F(fixed, ring_exit_releases)
{
	struct io_uring r;

	ASSERT_EQ(0, ptp_ring(&r, 0));
	ASSERT_EQ(0, ptp_register(&r, self->fd, self->bo.handle, 3, VRAM));
	EXPECT_EQ(1, ptp_pins(self->fd, self->bo.handle));
	io_uring_queue_exit(&r);
	EXPECT_TRUE(ptp_wait_pins(self->fd, self->bo.handle, 0));
	EXPECT_EQ(0, ptx_move(self->fd, self->bo.handle, SYSTEM, 0));
}

/* The slot alone keeps the object, and a clone of the slot does. */
TEST_F(fixed, slot_outlives_everything)
{
	struct drm_p2pbuf_device_info info;
	struct drm_p2pbuf_gem_create bo;
	int fd = ptr_open(&self->rig.region), i;
	struct io_uring other;

	if (!ptp_is_near())
		SKIP(return, "the drive cannot reach VRAM here");
	ASSERT_EQ(0, ptx_close(self->fd, self->bo.handle));
	munmap(self->p, SIZE);
	self->p = NULL;
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ptx_create(fd, SIZE, VRAM, 0, &bo));
	ASSERT_EQ(0, ptp_register(&self->rig.ring, fd, bo.handle, 0, VRAM));
	close(fd);
	ASSERT_EQ(0, io_uring_queue_init(8, &other, 0));
	ASSERT_EQ(0, io_uring_clone_buffers(&other, &self->rig.ring));
	ASSERT_EQ(0, unreg(self));

	ASSERT_EQ(0, fill_disk(self->scratch, self->disk.direct, 2));
	ptp_prep_fixed(&other, self->disk.direct, false, 0, 0, SIZE, 0,
		       self->rig.info.io_priority);
	ASSERT_EQ((int)SIZE, ptp_one(&other));
	ASSERT_EQ(0, fill_disk(self->scratch, self->disk.direct, 3));
	ptp_prep_fixed(&other, self->disk.direct, true, 0, 0, SIZE, 0,
		       self->rig.info.io_priority);
	ASSERT_EQ((int)SIZE, ptp_one(&other));
	memset(self->scratch, 0, SIZE);
	ASSERT_EQ((ssize_t)SIZE, pread(self->disk.direct, self->scratch, SIZE,
				       0));
	EXPECT_EQ(SIZE, ptx_check(self->scratch, SIZE, 2));

	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	EXPECT_EQ(SIZE, info.vram_used);
	io_uring_queue_exit(&other);
	for (i = 0; i < 6000 && info.vram_used; i++) {
		usleep(10000);
		ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	}
	EXPECT_EQ(0, info.vram_used);
}

/* Every size with guards around, both ways, by @file. */
static void check_data(struct __test_metadata *_metadata,
		       struct _test_data_fixed *self, int file)
{
	static const __u32 sizes[] = {
		512, 4096, 4096 + 512, 65536, 131072 + 512, 1 << 20, 3 << 20,
	};
	const __u64 at = 65536 - 4096;
	unsigned int i;
	__u32 n;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		n = sizes[i];
		ASSERT_EQ(0, fill_disk(self->scratch, file, 100 + i));
		memset(self->p, 0xee, SIZE);
		ASSERT_EQ((int)n, ptp_fixed(&self->rig, file, false, 0, at, n,
					    0));
		EXPECT_EQ(n, ptx_check(self->p + at, n, 100 + i));
		EXPECT_EQ(at, ptx_check_value(self->p, at, POISON));
		EXPECT_EQ(SIZE - at - n,
			  ptx_check_value(self->p + at + n, SIZE - at - n,
					  POISON));

		ptx_fill(self->p + at, n, 200 + i);
		ASSERT_EQ((int)n, ptp_fixed(&self->rig, file, true, 0, at, n,
					    512));
		memset(self->scratch, 0, SIZE);
		ASSERT_EQ((ssize_t)SIZE, pread(file, self->scratch, SIZE, 0));
		EXPECT_EQ(512, ptx_check(self->scratch, 512, 100 + i));
		EXPECT_EQ(n, ptx_check(self->scratch + 512, n, 200 + i));
	}
	/* The ends of the buffer. */
	ASSERT_EQ(0, fill_disk(self->scratch, file, 120));
	EXPECT_EQ(512, ptp_fixed(&self->rig, file, false, 0, SIZE - 512, 512,
				 0));
	EXPECT_EQ(512, ptx_check(self->p + SIZE - 512, 512, 120));
	EXPECT_EQ(-EFAULT, ptp_fixed(&self->rig, file, false, 0, SIZE - 512,
				     1024, 0));
	EXPECT_EQ(512, ptx_check(self->p + SIZE - 512, 512, 120));
}

TEST_F_TIMEOUT(fixed, raw_disk, 120)
{
	ASSERT_EQ(0, reg(self, VRAM));
	if (ptp_is_near()) {
		check_data(_metadata, self, self->disk.direct);
		return;
	}
	/* Unreachable: an error, and not a byte. */
	memset(self->p, 0xee, SIZE);
	EXPECT_GT(0, ptp_fixed(&self->rig, self->disk.direct, false, 0, 0,
			       MIB, 0));
	EXPECT_GT(0, ptp_fixed(&self->rig, self->disk.direct, true, 0, 0,
			       MIB, 0));
	EXPECT_EQ(SIZE, ptx_check_value(self->p, SIZE, POISON));
}

TEST_F_TIMEOUT(fixed, raw_disk_in_host_memory, 120)
{
	ASSERT_EQ(0, reg(self, SYSTEM));
	/* Not VRAM: it must not look like it to the block layer. */
	self->rig.info.io_priority = 0;
	check_data(_metadata, self, self->disk.direct);
}

TEST_F(fixed, direction)
{
	const int disk = self->disk.direct;

	if (!ptp_is_near())
		SKIP(return, "the drive cannot reach VRAM here");
	ASSERT_EQ(0, ptp_register_range(&self->rig.ring, self->fd,
					self->bo.handle, 0, MIB, MIB, VRAM,
					P2PBUF_REGISTER_READ));
	EXPECT_EQ(4096, ptp_fixed(&self->rig, disk, false, 0, 0, 4096, 0));
	EXPECT_EQ(-EFAULT, ptp_fixed(&self->rig, disk, true, 0, 0, 4096, 0));
	ASSERT_EQ(0, unreg(self));
	ASSERT_EQ(0, ptp_register_range(&self->rig.ring, self->fd,
					self->bo.handle, 0, MIB, MIB, VRAM,
					P2PBUF_REGISTER_WRITE));
	EXPECT_EQ(-EFAULT, ptp_fixed(&self->rig, disk, false, 0, 0, 4096, 0));
	EXPECT_EQ(4096, ptp_fixed(&self->rig, disk, true, 0, 0, 4096, 0));
	/* Only what was registered. */
	EXPECT_EQ(-EFAULT, ptp_fixed(&self->rig, disk, true, 0, MIB, 512, 0));
}

/* ---- ends ------------------------------------------------------------------ */

static int start_reads(struct _test_data_fixed *self, int file)
{
	unsigned int i;

	for (i = 0; i < 64; i++)
		ptp_prep_fixed(&self->rig.ring, file, false, 0, i * 65536,
			       65536, i * 65536, self->rig.info.io_priority);
	return io_uring_submit(&self->rig.ring) == 64 ? 0 : -EIO;
}

static int pick_slow(struct _test_data_fixed *self)
{
	return self->slow.direct >= 0 ? self->slow.direct : self->disk.direct;
}

TEST_F_TIMEOUT(fixed, killed_with_io_in_flight, 120)
{
	int file = pick_slow(self), pipes[2];
	char started = 0;
	pid_t pid;

	if (!ptp_is_near())
		SKIP(return, "the drive cannot reach VRAM here");
	ASSERT_EQ(0, fill_disk(self->scratch, file, 4));
	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* A ring of its own. */
		if (ptp_ring(&self->rig.ring, 0) || reg(self, VRAM) ||
		    start_reads(self, file) || write(pipes[1], "!", 1) != 1)
			_exit(1);
		pause();
	}
	close(pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &started, 1));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_TRUE(ptp_wait_pins(self->fd, self->bo.handle, 0));
	/* What was under way has ended before that. */
	EXPECT_EQ(SIZE, ptx_check(self->p, SIZE, 4));
	EXPECT_EQ(0, ptx_move(self->fd, self->bo.handle, SYSTEM, 0));
	EXPECT_EQ(SIZE, ptx_check(self->p, SIZE, 4));
	close(pipes[0]);
}

/* The slot is emptied under I/O: the pin stays until that has ended. */
TEST_F_TIMEOUT(fixed, unregister_with_io_in_flight, 120)
{
	struct io_uring_cqe *cqe;
	int file = pick_slow(self), i, bad = 0;

	if (!ptp_is_near())
		SKIP(return, "the drive cannot reach VRAM here");
	ASSERT_EQ(0, fill_disk(self->scratch, file, 5));
	ASSERT_EQ(0, reg(self, VRAM));
	ASSERT_EQ(0, start_reads(self, file));
	ASSERT_EQ(1, empty_slot(&self->rig.ring, 0));
	for (i = 0; i < 64; i++) {
		ASSERT_EQ(0, io_uring_wait_cqe(&self->rig.ring, &cqe));
		bad += cqe->res != 65536;
		io_uring_cqe_seen(&self->rig.ring, cqe);
	}
	EXPECT_EQ(0, bad);
	EXPECT_EQ(SIZE, ptx_check(self->p, SIZE, 5));
	EXPECT_TRUE(ptp_wait_pins(self->fd, self->bo.handle, 0));
}

struct unplugger {
	pthread_t thread;
	struct ptr_region *region;
	atomic_bool done;
	int error;
};

static void *unplug(void *arg)
{
	struct unplugger *u = arg;

	u->error = ptr_unbind(u->region);
	atomic_store(&u->done, true);
	return NULL;
}

/* Does the kernel's log get a line with @text within a minute? */
static bool log_says(int kmsg, const char *text)
{
	char line[1024];
	ssize_t n;
	int i;

	for (i = 0; i < 600; i++) {
		while ((n = read(kmsg, line, sizeof(line) - 1)) > 0) {
			line[n] = 0;
			if (strstr(line, text))
				return true;
		}
		usleep(100000);
	}
	return false;
}

/* The device does not go as long as a slot has its memory, and says why. */
TEST_F_TIMEOUT(fixed, unplug_waits, 240)
{
	struct unplugger u = { .region = &self->rig.region };
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (!ptp_is_near())
		SKIP(return, "the drive cannot reach VRAM here");
	ASSERT_LE(0, kmsg);
	lseek(kmsg, 0, SEEK_END);
	ASSERT_EQ(0, fill_disk(self->scratch, self->disk.direct, 6));
	ASSERT_EQ(0, reg(self, VRAM));
	ASSERT_EQ(0, pthread_create(&u.thread, NULL, unplug, &u));
	EXPECT_TRUE(log_says(kmsg, "unplug waits for registered io_uring buffers"));
	EXPECT_FALSE(atomic_load(&u.done));
	/* The slot works as before. */
	EXPECT_EQ((int)SIZE, ptp_fixed(&self->rig, self->disk.direct, false, 0,
				       0, SIZE, 0));
	EXPECT_EQ(-ENODEV, ptp_register(&self->rig.ring, self->fd,
					self->bo.handle, 1, VRAM));
	EXPECT_EQ(0, unreg(self));
	pthread_join(u.thread, NULL);
	EXPECT_EQ(0, u.error);
	self->rig.up = false;
	EXPECT_EQ(SIZE, ptx_check(self->p, SIZE, 6));
	close(kmsg);
	ASSERT_EQ(0, ptr_probe(&self->rig.region));
	self->rig.up = true;
}

/* Registers, says so, and has the kernel copy VRAM for as long as it goes. */
static void copy_for_ever(struct _test_data_fixed *self, int to)
{
	int sink[2];

	if (ptp_ring(&self->rig.ring, 0) || reg(self, VRAM) || pipe(sink) ||
	    write(to, "!", 1) != 1)
		_exit(1);
	while (write(sink[1], self->p, 4096) == 4096)
		if (read(sink[0], self->scratch, 4096) != 4096)
			_exit(2);
	_exit(3);
}

/*
 * The kernel copies from a mapping of what cannot leave VRAM yet, and looks for
 * no signal while it does. It must not outlive its task: the slot that the
 * object cannot leave for ends with that.
 */
TEST_F_TIMEOUT(fixed, killed_while_the_kernel_copies, 240)
{
	struct unplugger u = { .region = &self->rig.region };
	struct drm_p2pbuf_device_info info;
	int status = 0, ready[2];
	char byte;
	pid_t pid;

	ptx_fill(self->p, SIZE, 7);
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		copy_for_ever(self, ready[1]);
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	ASSERT_EQ(0, pthread_create(&u.thread, NULL, unplug, &u));
	ASSERT_TRUE(ptk_until(ptx_device_info(self->fd, &info) == -ENODEV,
			      60000));
	/* Soon its mapping is zapped, and it stays in the copy. */
	usleep(300000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	EXPECT_FALSE(atomic_load(&u.done));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_TRUE(ptk_until(waitpid(pid, &status, WNOHANG) == pid, 60000));
	EXPECT_TRUE(WIFSIGNALED(status));
	pthread_join(u.thread, NULL);
	EXPECT_EQ(0, u.error);
	self->rig.up = false;
	EXPECT_EQ(SIZE, ptx_check(self->p, SIZE, 7));
	close(ready[0]);
	ASSERT_EQ(0, ptr_probe(&self->rig.region));
	self->rig.up = true;
}

TEST_HARNESS_MAIN
