// SPDX-License-Identifier: GPL-2.0
/*
 * Paged regions: their objects' CPU mappings are buffers for direct I/O, and
 * nobody's memory moves, is freed or goes with the device under such I/O.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <liburing.h>

#include "p2pbuf_test_group.h"
#include "p2pbuf_test_paged.h"
#include "p2pbuf_test_poke.h"

#define MIB		(1ULL << 20)
#define SIZE		(4 * MIB)
#define VRAM		P2PBUF_PLACEMENT_VRAM
#define SYSTEM		P2PBUF_PLACEMENT_SYSTEM

FIXTURE(paged)
{
	struct ptp_rig rig;
	struct ptn_disk disk;
	struct ptn_disk slow;
	char *scratch;
};

FIXTURE_SETUP(paged)
{
	int ret;

	self->disk.direct = -1;
	self->slow.direct = -1;
	if (ptn_disk_open("main", &self->disk))
		SKIP(return, "no drive");
	/* Last: nobody gives the region back for who skips. */
	ret = ptp_open(&self->rig);
	if (ret == -ENODEV)
		SKIP(return, "no render node of the exporter");
	ASSERT_EQ(0, ret);
	/* Where I/O takes its time, if there is one. */
	ptn_disk_open("slow", &self->slow);
	self->scratch = ptn_memory(SIZE);
	ASSERT_NE(NULL, self->scratch);
}

FIXTURE_TEARDOWN(paged)
{
	ptp_close(&self->rig);
}

static int direct_write(int fd, const void *p, __u64 size, __u64 offset)
{
	return pwrite(fd, p, size, offset) == (ssize_t)size ? 0 : -errno;
}

static int direct_read(int fd, void *p, __u64 size, __u64 offset)
{
	return pread(fd, p, size, offset) == (ssize_t)size ? 0 : -errno;
}

/* A disk's first SIZE bytes become the pattern of @seed. */
static int fill_disk(char *scratch, int direct, __u64 seed)
{
	ptx_fill(scratch, SIZE, seed);
	return direct_write(direct, scratch, SIZE, 0);
}

TEST_F(paged, says_so)
{
	const __u32 priority = self->rig.info.io_priority;
	struct drm_p2pbuf_device_info info;
	struct ptr_region other;
	int i, fd;

	EXPECT_EQ(P2PBUF_DEVICE_PAGED, self->rig.info.flags);
	/* Best effort, level 4, and a hint that nothing else has. */
	EXPECT_EQ(2, priority >> 13);
	EXPECT_EQ(4, priority & 7);
	EXPECT_LE(512, priority >> 3 & 1023);

	for (i = 0; !ptr_find(i, &other); i++) {
		if (other.pci == self->rig.region.pci)
			continue;
		ASSERT_EQ(0, ptr_param("reserved", "0"));
		ASSERT_EQ(0, ptr_rebind(&other));
		fd = ptr_open(&other);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ptx_device_info(fd, &info));
		EXPECT_EQ(P2PBUF_DEVICE_PAGED, info.flags);
		EXPECT_NE(priority, info.io_priority);
		close(fd);

		ASSERT_EQ(0, ptr_param("paged", "0"));
		ASSERT_EQ(0, ptr_rebind(&other));
		fd = ptr_open(&other);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ptx_device_info(fd, &info));
		EXPECT_EQ(0, info.flags);
		EXPECT_EQ(0, info.io_priority);
		close(fd);
		break;
	}
}

TEST_F(paged, peers_are_judged)
{
	const char *pci = getenv("P2PBUF_NVME_MAIN_PCI");
	struct drm_p2pbuf_peer_info peer = {};
	unsigned int domain, bus, dev, fn;

	if (!pci || sscanf(pci, "%x:%x:%x.%x", &domain, &bus, &dev, &fn) != 4)
		SKIP(return, "no drive");
	peer.pci = domain << 16 | bus << 8 | dev << 3 | fn;
	ASSERT_EQ(0, ptx_ioctl(self->rig.fd, DRM_IOCTL_P2PBUF_PEER_INFO,
			       &peer));
	EXPECT_EQ(ptp_is_near() ? P2PBUF_PEER_REACHABLE : 0, peer.flags);
	peer.pci = 0xfffffff8;
	EXPECT_EQ(-ENXIO, ptx_ioctl(self->rig.fd, DRM_IOCTL_P2PBUF_PEER_INFO,
				    &peer));
}

/* The mapping survives moves as that of any object does. */
TEST_F(paged, mapping)
{
	struct drm_p2pbuf_gem_create bo;
	int dmabuf, i;
	char *p, *q;

	ASSERT_EQ(0, ptx_create(self->rig.fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->rig.fd, SIZE, bo.mmap_offset);
	dmabuf = ptx_export(self->rig.fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	q = ptx_mmap(dmabuf, SIZE, 0);
	ASSERT_NE(NULL, p);
	ASSERT_NE(NULL, q);
	EXPECT_EQ(SIZE, ptx_check_value(q, SIZE, 0));
	for (i = 0; i < 4; i++) {
		ptx_fill(i & 1 ? q : p, SIZE, i);
		ASSERT_EQ(0, ptx_move(self->rig.fd, bo.handle,
				      i & 1 ? VRAM : SYSTEM, 0));
		EXPECT_EQ(SIZE, ptx_check(p, SIZE, i));
		EXPECT_EQ(SIZE, ptx_check(q, SIZE, i));
	}
	munmap(p, SIZE);
	munmap(q, SIZE);
	close(dmabuf);
}

/* A debugger, which gets pages here, writes no more than who is debugged. */
TEST_F(paged, read_only_to_debuggers)
{
	struct drm_p2pbuf_gem_create bo;
	int dmabuf, place;
	__u64 *p;

	ASSERT_EQ(0, ptx_create(self->rig.fd, SIZE, VRAM, 0, &bo));
	dmabuf = ptx_export(self->rig.fd, bo.handle, false);
	ASSERT_LE(0, dmabuf);
	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, p);
	for (place = 0; place < 2; place++) {
		EXPECT_EQ(0, ptk_poke(p, 0x77));
		EXPECT_EQ(SIZE, ptx_check_value(p, SIZE, 0));
		/* Without a page in the table, too. */
		EXPECT_EQ(0, madvise(p, SIZE, MADV_DONTNEED));
		EXPECT_EQ(0, ptk_poke(p + MIB / 8, 0x77));
		EXPECT_EQ(SIZE, ptx_check_value(p, SIZE, 0));
		ASSERT_EQ(0, ptx_move(self->rig.fd, bo.handle, SYSTEM, 0));
	}
	munmap(p, SIZE);
	/* Who may write may be debugged. */
	p = ptx_mmap(self->rig.fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(PTK_POKE_MEM | PTK_POKE_PTRACE, ptk_poke(p, 0x77));
	EXPECT_EQ(0x77, *(volatile __u64 *)p);
	munmap(p, SIZE);
	close(dmabuf);
}

static int ring_io(struct io_uring *ring, bool write, int fd, void *p,
		   __u64 size)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	int ret;

	if (write)
		io_uring_prep_write(sqe, fd, p, size, 0);
	else
		io_uring_prep_read(sqe, fd, p, size, 0);
	ret = ptp_one(ring);
	return ret == (int)size ? 0 : ret;
}

/* Both ways, by system call and by ring, in one placement. */
static void io_by_address(struct __test_metadata *_metadata,
			  struct _test_data_paged *self, char *p, bool ring)
{
	const int disk = self->disk.direct;
	struct io_uring *r = &self->rig.ring;

	ASSERT_EQ(0, fill_disk(self->scratch, disk, 10 + ring));
	memset(p, 0xee, SIZE);
	ASSERT_EQ(0, ring ? ring_io(r, false, disk, p, MIB) :
			    direct_read(disk, p, MIB, 0));
	EXPECT_EQ(MIB, ptx_check(p, MIB, 10 + ring));
	EXPECT_EQ(SIZE - MIB, ptx_check_value(p + MIB, SIZE - MIB,
					      0xeeeeeeeeeeeeeeeeULL));

	ptx_fill(p, SIZE, 20 + ring);
	ASSERT_EQ(0, ring ? ring_io(r, true, disk, p, MIB) :
			    direct_write(disk, p, MIB, 0));
	memset(self->scratch, 0, SIZE);
	ASSERT_EQ(0, direct_read(disk, self->scratch, MIB, 0));
	EXPECT_EQ(MIB, ptx_check(self->scratch, MIB, 20 + ring));
}

TEST_F(paged, io_by_address)
{
	struct drm_p2pbuf_gem_create bo;
	char *p;

	ASSERT_EQ(0, ptx_create(self->rig.fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->rig.fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	if (ptp_is_near()) {
		io_by_address(_metadata, self, p, false);
		io_by_address(_metadata, self, p, true);
	} else {
		memset(p, 0xee, SIZE);
		EXPECT_EQ(-EINVAL, direct_read(self->disk.direct, p, MIB, 0));
		EXPECT_EQ(-EINVAL, direct_write(self->disk.direct, p, MIB, 0));
		EXPECT_EQ(-EINVAL, ring_io(&self->rig.ring, false,
					   self->disk.direct, p, MIB));
		EXPECT_EQ(SIZE, ptx_check_value(p, SIZE, 0xeeeeeeeeeeeeeeeeULL));
	}
	EXPECT_EQ(VRAM, ptx_placement(self->rig.fd, bo.handle));
	ASSERT_EQ(0, ptx_move(self->rig.fd, bo.handle, SYSTEM, 0));
	io_by_address(_metadata, self, p, false);
	io_by_address(_metadata, self, p, true);
	EXPECT_EQ(SYSTEM, ptx_placement(self->rig.fd, bo.handle));
	munmap(p, SIZE);
}

static void *let_go(void *arg)
{
	int *pipes = arg;

	usleep(200000);
	close(pipes[0]);
	close(pipes[1]);
	return NULL;
}

/* Who takes pages for good gets none in VRAM, and keeps others from moving. */
TEST_F(paged, long_term_pins)
{
	struct drm_p2pbuf_gem_create bo;
	pthread_t thread;
	struct iovec iov;
	int pipes[2];

	ASSERT_EQ(0, ptx_create(self->rig.fd, SIZE, VRAM, 0, &bo));
	iov.iov_base = ptx_mmap(self->rig.fd, SIZE, bo.mmap_offset);
	iov.iov_len = 4096;
	ASSERT_NE(NULL, iov.iov_base);
	ASSERT_EQ(0, pipe(pipes));
	EXPECT_GT(0, io_uring_register_buffers_update_tag(&self->rig.ring, 1,
							  &iov, NULL, 1));
	EXPECT_EQ(-1, vmsplice(pipes[1], &iov, 1, 0));

	ASSERT_EQ(0, ptx_move(self->rig.fd, bo.handle, SYSTEM, 0));
	ASSERT_EQ(4096, vmsplice(pipes[1], &iov, 1, 0));
	EXPECT_EQ(-EBUSY, ptx_move(self->rig.fd, bo.handle, VRAM,
				   P2PBUF_MOVE_NOWAIT));
	ASSERT_LT(0, ptp_counter(&self->rig.region, "refused_pages_in_use"));
	EXPECT_EQ(SYSTEM, ptx_placement(self->rig.fd, bo.handle));
	/* With patience, when the pages are given back. */
	ASSERT_EQ(0, pthread_create(&thread, NULL, let_go, pipes));
	EXPECT_EQ(0, ptx_move(self->rig.fd, bo.handle, VRAM, 0));
	pthread_join(thread, NULL);
	EXPECT_EQ(VRAM, ptx_placement(self->rig.fd, bo.handle));
	munmap(iov.iov_base, SIZE);
}

#define PIECE		65536ULL
#define PIECES		(SIZE / PIECE)

/* Reads of a whole object by address are under way when this returns. */
static int start_reads(struct io_uring *ring, int fd, char *p)
{
	unsigned int i;
	int ret;

	for (i = 0; i < PIECES; i++)
		io_uring_prep_read(io_uring_get_sqe(ring), fd, p + i * PIECE,
				   PIECE, i * PIECE);
	ret = io_uring_submit(ring);
	return ret == PIECES ? 0 : -EIO;
}

/* How many were not read in full? */
static int end_reads(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	unsigned int i;
	int bad = 0;

	for (i = 0; i < PIECES; i++) {
		if (io_uring_wait_cqe(ring, &cqe))
			return -1;
		bad += cqe->res != (int)PIECE;
		io_uring_cqe_seen(ring, cqe);
	}
	return bad;
}

/* The disk whose I/O takes long, where there is one. */
static int pick_slow(struct _test_data_paged *self)
{
	return self->slow.direct >= 0 ? self->slow.direct : self->disk.direct;
}

TEST_F_TIMEOUT(paged, move_waits_for_io, 120)
{
	struct drm_p2pbuf_gem_create bo;
	int fd = pick_slow(self), i;
	char *p;

	if (!ptp_is_near())
		SKIP(return, "the drive cannot reach VRAM here");
	ASSERT_EQ(0, ptx_create(self->rig.fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->rig.fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, fill_disk(self->scratch, fd, 30 + i));
		memset(p, 0xee, SIZE);
		ASSERT_EQ(0, start_reads(&self->rig.ring, fd, p));
		EXPECT_EQ(0, ptx_move(self->rig.fd, bo.handle,
				      i & 1 ? VRAM : SYSTEM, 0));
		EXPECT_EQ(0, end_reads(&self->rig.ring));
		EXPECT_EQ(SIZE, ptx_check(p, SIZE, 30 + i));
	}
	/* On a slow machine the drive may be done before each of the moves. */
	if (!ptp_counter(&self->rig.region, "page_waits"))
		TH_LOG("no move met a read under way");
	munmap(p, SIZE);
}

/*
 * Memory that was freed under I/O has no next owner until the I/O is over:
 * whoever gets it finds zeroes, and they stay.
 */
TEST_F_TIMEOUT(paged, free_under_io, 120)
{
	struct drm_p2pbuf_gem_create bo, next;
	__u64 vram = self->rig.info.vram_size;
	int fd = pick_slow(self);
	char *p, *q;
	bool over;

	if (!ptp_is_near())
		SKIP(return, "the drive cannot reach VRAM here");
	ASSERT_EQ(0, fill_disk(self->scratch, fd, 40));
	ASSERT_EQ(0, ptx_create(self->rig.fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->rig.fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ASSERT_EQ(0, start_reads(&self->rig.ring, fd, p));
	ASSERT_EQ(0, munmap(p, SIZE));
	ASSERT_EQ(0, ptx_close(self->rig.fd, bo.handle));
	/* What ended before the ioctl did has its CQE by now. */
	over = io_uring_cq_ready(&self->rig.ring) == PIECES;
	if (over)
		TH_LOG("the reads were over before it was freed");
	if (self->slow.direct >= 0 && !over)
		EXPECT_EQ(1, ptp_counter(&self->rig.region, "quarantines"));

	/* All there is, so what was freed is in it. */
	ASSERT_EQ(0, ptx_create(self->rig.fd, vram, VRAM, 0, &next));
	q = ptx_mmap(self->rig.fd, vram, next.mmap_offset);
	ASSERT_NE(NULL, q);
	EXPECT_EQ(SIZE, ptx_check_value(q, SIZE, 0));
	EXPECT_EQ(0, end_reads(&self->rig.ring));
	EXPECT_EQ(vram, ptx_check_value(q, vram, 0));
	EXPECT_EQ(0, ptp_counter(&self->rig.region, "quarantined"));
	munmap(q, vram);
}

struct looper {
	pthread_t thread;
	atomic_bool stop;
	int fd;
	char *p;
	unsigned int loops;
	unsigned int bad;
};

/* Reads all of the mapping in one go, again and again. */
static void *read_loop(void *arg)
{
	struct looper *l = arg;

	do {
		if (pread(l->fd, l->p, SIZE, 0) != (ssize_t)SIZE)
			l->bad++;
		l->loops++;
	} while (!atomic_load(&l->stop));
	return NULL;
}

/*
 * Somebody who has half of his pages and needs the other half waits for a
 * lock that whoever moves the object holds: neither may wait for ever, and
 * both get what they want. Where a read takes so long that there is hardly a
 * moment without one, the mover may give up, and then nothing has changed.
 */
TEST_F_TIMEOUT(paged, moves_and_evictions_under_io, 240)
{
	struct looper l = { .fd = self->disk.direct };
	__u64 vram = self->rig.info.vram_size;
	struct drm_p2pbuf_gem_create bo, big;
	unsigned int busy = 0;
	__u32 from;
	int i, ret;

	if (!ptp_is_near())
		SKIP(return, "the drive cannot reach VRAM here");
	ASSERT_EQ(0, fill_disk(self->scratch, l.fd, 50));
	ASSERT_EQ(0, ptx_create(self->rig.fd, SIZE, VRAM, 0, &bo));
	l.p = ptx_mmap(self->rig.fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, l.p);
	ASSERT_EQ(0, pthread_create(&l.thread, NULL, read_loop, &l));
	for (i = 0; i < 10 && busy < 3; i++) {
		from = ptx_placement(self->rig.fd, bo.handle);
		ret = ptx_move(self->rig.fd, bo.handle,
			       from == VRAM ? SYSTEM : VRAM, 0);
		EXPECT_TRUE(!ret || ret == -EBUSY);
		busy += ret == -EBUSY;
		EXPECT_EQ(ret ? from : from ^ VRAM ^ SYSTEM,
			  ptx_placement(self->rig.fd, bo.handle));
	}
	EXPECT_GT(ptk_slow() > 1 ? 3 : 1, busy);
	for (i = 0; i < 4 && busy < 3; i++) {
		ret = ptx_move(self->rig.fd, bo.handle, VRAM, 0);
		ret = ret ?: ptx_create(self->rig.fd, vram, VRAM, 0, &big);
		EXPECT_TRUE(!ret || ret == -EBUSY);
		busy += ret == -EBUSY;
		if (ret)
			continue;
		EXPECT_EQ(SYSTEM, ptx_placement(self->rig.fd, bo.handle));
		EXPECT_EQ(0, ptx_close(self->rig.fd, big.handle));
	}
	EXPECT_GT(ptk_slow() > 1 ? 4 : 1, busy);
	atomic_store(&l.stop, true);
	pthread_join(l.thread, NULL);
	EXPECT_EQ(0, l.bad);
	EXPECT_EQ(SIZE, ptx_check(l.p, SIZE, 50));
	munmap(l.p, SIZE);
}

/* The I/O ends well, and so do the bytes, in system memory. */
TEST_F_TIMEOUT(paged, unplug_under_io, 120)
{
	struct drm_p2pbuf_gem_create bo, dead;
	int fd = pick_slow(self);
	char *p, *q;

	if (!ptp_is_near())
		SKIP(return, "the drive cannot reach VRAM here");
	ASSERT_EQ(0, fill_disk(self->scratch, fd, 60));
	ASSERT_EQ(0, ptx_create(self->rig.fd, SIZE, VRAM, 0, &bo));
	ASSERT_EQ(0, ptx_create(self->rig.fd, SIZE, VRAM, 0, &dead));
	p = ptx_mmap(self->rig.fd, SIZE, bo.mmap_offset);
	q = ptx_mmap(self->rig.fd, SIZE, dead.mmap_offset);
	ASSERT_NE(NULL, p);
	ASSERT_NE(NULL, q);
	ASSERT_EQ(0, start_reads(&self->rig.ring, fd, p));
	io_uring_prep_read(io_uring_get_sqe(&self->rig.ring), fd, q, PIECE, 0);
	ASSERT_EQ(1, io_uring_submit(&self->rig.ring));
	ASSERT_EQ(0, munmap(q, SIZE));
	ASSERT_EQ(0, ptx_close(self->rig.fd, dead.handle));

	ASSERT_EQ(0, ptr_unbind(&self->rig.region));
	self->rig.up = false;
	EXPECT_EQ(0, end_reads(&self->rig.ring));
	EXPECT_EQ((int)PIECE, ptp_one(&self->rig.ring));
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 60));
	/* Still a buffer for I/O. */
	memset(p, 0xee, SIZE);
	EXPECT_EQ(0, direct_read(fd, p, SIZE, 0));
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 60));
	munmap(p, SIZE);
	ASSERT_EQ(0, ptr_probe(&self->rig.region));
	self->rig.up = true;
}

/* ---- whose memory it is ------------------------------------------------------- */

/* A group that may have no more than @bytes; or there are no such limits. */
static int group_make(__u64 bytes)
{
	char limit[32];
	int ret = ptg_make("memory");

	snprintf(limit, sizeof(limit), "%llu", bytes);
	return ret ? ret : ptk_write(PTG_GROUP "/memory.max", limit);
}

static int create_in_group(const struct ptr_region *region, __u64 size)
{
	struct drm_p2pbuf_gem_create bo;
	int fd, ret;

	ret = ptg_enter();
	if (ret)
		return ret;
	fd = ptr_open(region);
	if (fd < 0)
		return fd;
	ret = ptx_create(fd, size, VRAM, 0, &bo);
	close(fd);
	return ret;
}

/*
 * Who needs VRAM drives others out of it; he does not pay for what they have in
 * system memory then.
 */
TEST_F_TIMEOUT(paged, eviction_is_free, 120)
{
	struct drm_p2pbuf_gem_create bo;
	__u64 size = self->rig.info.vram_size;
	int status;
	pid_t pid;

	if (group_make(size / 2))
		SKIP(return, "no cgroup with a limit of memory");
	ASSERT_EQ(0, ptx_create(self->rig.fd, size, VRAM, 0, &bo));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(-create_in_group(&self->rig.region, size));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_EQ(SYSTEM, ptx_placement(self->rig.fd, bo.handle));
	EXPECT_EQ(0, ptg_remove());
}

TEST_HARNESS_MAIN
