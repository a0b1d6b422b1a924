// SPDX-License-Identifier: GPL-2.0
/*
 * dma-bufs of the exporter as memory regions of a NIC, in every flavour that
 * the kernel knows: one that follows moves, one that is pinned until it is
 * revoked, and one that is pinned for good, with and without leave to be so
 * in VRAM.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_exporter.h"
#include "p2pbuf_test_nic.h"
#include "p2pbuf_test_nobody.h"
#include "p2pbuf_test_region.h"
#include "p2pbuf_test_verbs.h"

#define KIB		1024ULL
#define MIB		(1024 * KIB)
#define SIZE		(256 * KIB)
#define SLICE		(4 * KIB)
#define MOVES		200
#define VRAM		P2PBUF_PLACEMENT_VRAM
#define SYSTEM		P2PBUF_PLACEMENT_SYSTEM
#define POISON		0xdeadbeefcafef00dULL
#define IOVA		(1ULL << 40)

/* A buffer, or as much of one as a test needs. */
struct buffer {
	struct drm_p2pbuf_gem_create bo;
	int dmabuf;
	void *cpu;
	struct ptv_mr mr;
};

FIXTURE(verbs)
{
	struct ptr_region region;
	struct ptv_pair pair;
	struct buffer near;
	struct buffer far;
	/* host memory, and its region */
	void *host;
	struct ibv_mr *host_mr;
	bool rebound;
	int fd;
};

FIXTURE_VARIANT(verbs)
{
	const char *flavour;
	bool unrevocable;
	/* where the object is while it is registered */
	__u32 place;
	bool pins;
};

FIXTURE_VARIANT_ADD(verbs, dynamic)
{
	.flavour = "dynamic",
	.place = VRAM,
};

FIXTURE_VARIANT_ADD(verbs, revocable)
{
	.flavour = "revocable",
	.place = VRAM,
	.pins = true,
};

FIXTURE_VARIANT_ADD(verbs, pinned)
{
	.flavour = "pinned",
	.unrevocable = true,
	.place = VRAM,
	.pins = true,
};

/* An exporter that wants its VRAM back at any time: it gets system memory. */
FIXTURE_VARIANT_ADD(verbs, pinned_elsewhere)
{
	.flavour = "pinned",
	.place = SYSTEM,
	.pins = true,
};

static int buffer_create(int fd, struct buffer *buf, __u64 size)
{
	int ret = ptx_create(fd, size, VRAM, 0, &buf->bo);

	if (ret)
		return ret;
	buf->dmabuf = ptx_export(fd, buf->bo.handle, true);
	if (buf->dmabuf < 0)
		return buf->dmabuf;
	buf->cpu = ptx_mmap(fd, size, buf->bo.mmap_offset);
	return buf->cpu ? 0 : -errno;
}

static __u64 pins(int fd, const struct buffer *buf)
{
	struct drm_p2pbuf_gem_info info;

	return ptx_info(fd, buf->bo.handle, &info) ? ~0ULL : info.pins;
}

static struct ptv_side at_near(struct _test_data_verbs *self, __u64 offset)
{
	return (struct ptv_side){ offset, self->near.mr.lkey };
}

static struct ptv_side at_far(struct _test_data_verbs *self, __u64 offset)
{
	return (struct ptv_side){ IOVA + offset, self->far.mr.rkey };
}

static struct ptv_side at_host(struct _test_data_verbs *self)
{
	return (struct ptv_side){ (uintptr_t)self->host, self->host_mr->lkey };
}

static void poison(struct buffer *buf, __u64 size)
{
	volatile __u64 *word = buf->cpu;
	__u64 i;

	for (i = 0; i < size / 8; i++)
		word[i] = POISON;
}

/* With it all regions go. */
static void close_pair(struct _test_data_verbs *self)
{
	if (self->host_mr)
		ibv_dereg_mr(self->host_mr);
	self->host_mr = NULL;
	ptv_close(&self->pair);
}

FIXTURE_SETUP(verbs)
{
	const char *path = getenv("P2PBUF_EXPECT_PATH");

	self->fd = -1;
	if (access("/sys/module/" PTV_MODULE, F_OK))
		SKIP(return, "no test NIC for this kernel or machine");
	if (path && !strcmp(path, "refused"))
		SKIP(return, "no way from device to device here");
	if (ptr_find(0, &self->region))
		SKIP(return, "no render node of the exporter");
	if (variant->unrevocable) {
		ASSERT_EQ(0, ptr_param("unrevocable", "1"));
		self->rebound = true;
		ASSERT_EQ(0, ptr_rebind(&self->region));
	}
	self->fd = ptr_open(&self->region);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ptv_open_pair(PTV_DEVICE, &self->pair));
	ASSERT_EQ(0, ptv_nic_flavour(variant->flavour));

	ASSERT_EQ(0, buffer_create(self->fd, &self->near, SIZE));
	ASSERT_EQ(0, buffer_create(self->fd, &self->far, SIZE));
	ASSERT_EQ(0, ptv_reg(self->pair.pd, self->near.dmabuf, 0, SIZE, 0,
			     PTV_ALL, &self->near.mr));
	ASSERT_EQ(0, ptv_reg(self->pair.pd, self->far.dmabuf, 0, SIZE, IOVA,
			     PTV_ALL, &self->far.mr));
	ASSERT_EQ(0, posix_memalign(&self->host, 4096, SLICE));
	self->host_mr = ibv_reg_mr(self->pair.pd, self->host, SLICE,
				   IBV_ACCESS_LOCAL_WRITE);
	ASSERT_NE(NULL, self->host_mr);
	ASSERT_EQ(variant->place, ptx_placement(self->fd, self->near.bo.handle));
	ASSERT_EQ(variant->place, ptx_placement(self->fd, self->far.bo.handle));
}

FIXTURE_TEARDOWN(verbs)
{
	/* Before the region: it may wait for what is registered. */
	close_pair(self);
	if (self->rebound) {
		ptr_param("unrevocable", "0");
		ptr_param("pin_limit_percent", "50");
		ptr_unbind(&self->region);
		ptr_probe(&self->region);
	}
	if (self->fd >= 0)
		close(self->fd);
}

TEST_F(verbs, write_and_read)
{
	ptx_fill(self->near.cpu, SIZE, 1);
	poison(&self->far, SIZE);
	ASSERT_EQ(0, ptv_rdma(&self->pair, IBV_WR_RDMA_WRITE, at_near(self, 0),
			      SIZE, at_far(self, 0)));
	EXPECT_EQ(SIZE, ptx_check(self->far.cpu, SIZE, 1));

	ptx_fill(self->far.cpu, SIZE, 2);
	poison(&self->near, SIZE);
	ASSERT_EQ(0, ptv_rdma(&self->pair, IBV_WR_RDMA_READ, at_near(self, 0),
			      SIZE, at_far(self, 0)));
	EXPECT_EQ(SIZE, ptx_check(self->near.cpu, SIZE, 2));
	EXPECT_EQ(variant->place, ptx_placement(self->fd, self->far.bo.handle));
	EXPECT_EQ(variant->pins, pins(self->fd, &self->far));

	/* Descriptor and handle are not needed: the region holds the buffer. */
	close(self->far.dmabuf);
	ASSERT_EQ(0, ptx_close(self->fd, self->far.bo.handle));
	ptx_fill(self->near.cpu, SIZE, 3);
	ASSERT_EQ(0, ptv_rdma(&self->pair, IBV_WR_RDMA_WRITE, at_near(self, 0),
			      SIZE, at_far(self, 0)));
	EXPECT_EQ(SIZE, ptx_check(self->far.cpu, SIZE, 3));
}

TEST_F(verbs, atomics)
{
	volatile __u64 *far = self->far.cpu, *near = self->near.cpu;
	const __u64 place = SLICE / 8 + 5;

	poison(&self->far, SIZE);
	poison(&self->near, SIZE);
	far[place] = 40;
	ASSERT_EQ(0, ptv_post(&self->pair, IBV_WR_ATOMIC_FETCH_AND_ADD,
			      at_near(self, 8), 8, at_far(self, place * 8), 2,
			      0));
	ASSERT_EQ(0, ptv_wait(&self->pair));
	EXPECT_EQ(40, near[1]);
	EXPECT_EQ(42, far[place]);

	/* Compared with something else, nothing is stored. */
	ASSERT_EQ(0, ptv_post(&self->pair, IBV_WR_ATOMIC_CMP_AND_SWP,
			      at_near(self, 16), 8, at_far(self, place * 8), 41,
			      7));
	ASSERT_EQ(0, ptv_wait(&self->pair));
	EXPECT_EQ(42, near[2]);
	EXPECT_EQ(42, far[place]);
	ASSERT_EQ(0, ptv_post(&self->pair, IBV_WR_ATOMIC_CMP_AND_SWP,
			      at_near(self, 24), 8, at_far(self, place * 8), 42,
			      7));
	ASSERT_EQ(0, ptv_wait(&self->pair));
	EXPECT_EQ(42, near[3]);
	EXPECT_EQ(7, far[place]);

	far[place] = POISON;
	near[1] = POISON;
	near[2] = POISON;
	near[3] = POISON;
	EXPECT_EQ(SIZE, ptx_check_value(self->far.cpu, SIZE, POISON));
	EXPECT_EQ(SIZE, ptx_check_value(self->near.cpu, SIZE, POISON));
}

/* A region in the middle: what is around it is out of reach. */
TEST_F(verbs, part_of_a_buffer)
{
	const __u64 offset = 3 * SLICE + 104, len = 5000;
	struct ptv_mr part;
	struct ptv_side to;

	ASSERT_EQ(0, ptv_reg(self->pair.pd, self->far.dmabuf, offset, len,
			     IOVA + 104, PTV_ALL, &part));
	to = (struct ptv_side){ IOVA + 104, part.rkey };
	ptx_fill(self->near.cpu, SIZE, 4);
	poison(&self->far, SIZE);
	ASSERT_EQ(0, ptv_rdma(&self->pair, IBV_WR_RDMA_WRITE, at_near(self, 0),
			      len, to));
	EXPECT_EQ(offset, ptx_check_value(self->far.cpu, offset, POISON));
	EXPECT_EQ(len, ptx_check(self->far.cpu + offset, len, 4));
	EXPECT_EQ(SIZE - offset - len,
		  ptx_check_value(self->far.cpu + offset + len,
				  SIZE - offset - len, POISON));

	to.iova++;
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR,
		  ptv_rdma(&self->pair, IBV_WR_RDMA_WRITE, at_near(self, 0),
			   len, to));
	ASSERT_EQ(0, ptv_connect(&self->pair));
	to.iova -= 2;
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR,
		  ptv_rdma(&self->pair, IBV_WR_RDMA_WRITE, at_near(self, 0),
			   8, to));
	EXPECT_EQ(offset, ptx_check_value(self->far.cpu, offset, POISON));
	EXPECT_EQ(len, ptx_check(self->far.cpu + offset, len, 4));
	EXPECT_EQ(0, ptv_dereg(self->pair.ctx, &part));
}

TEST_F(verbs, what_is_refused)
{
	struct ibv_pd *pd = self->pair.pd;
	int fd = self->far.dmabuf;
	struct ptv_mr mr;
	int other;

	/* the page-offset rule */
	EXPECT_EQ(-EINVAL, ptv_reg(pd, fd, 100, SLICE, 0, PTV_ALL, &mr));
	EXPECT_EQ(-EINVAL, ptv_reg(pd, fd, 0, SLICE, IOVA + 8, PTV_ALL, &mr));
	/* outside of the buffer, nothing at all, too much to add up */
	EXPECT_EQ(-EINVAL, ptv_reg(pd, fd, SIZE, SLICE, 0, PTV_ALL, &mr));
	EXPECT_EQ(-EINVAL, ptv_reg(pd, fd, 0, SIZE + 1, 0, PTV_ALL, &mr));
	EXPECT_EQ(-EINVAL, ptv_reg(pd, fd, 0, 0, 0, PTV_ALL, &mr));
	EXPECT_EQ(-EINVAL, ptv_reg(pd, fd, ~0ULL << 12, SLICE, 0, PTV_ALL, &mr));
	/* remote writes need local ones */
	EXPECT_EQ(-EINVAL, ptv_reg(pd, fd, 0, SLICE, 0,
				   IBV_ACCESS_REMOTE_WRITE, &mr));
	/* no dma-buf */
	EXPECT_EQ(-EBADF, ptv_reg(pd, -1, 0, SLICE, 0, PTV_ALL, &mr));
	other = open("/dev/null", O_RDWR | O_CLOEXEC);
	EXPECT_EQ(-EINVAL, ptv_reg(pd, other, 0, SLICE, 0, PTV_ALL, &mr));
	close(other);
	EXPECT_EQ(variant->pins, pins(self->fd, &self->far));

	/* A region that only may be read. */
	poison(&self->far, SIZE);
	ASSERT_EQ(0, ptv_reg(pd, fd, 0, SIZE, IOVA, IBV_ACCESS_REMOTE_READ,
			     &mr));
	ptx_fill(self->near.cpu, SIZE, 5);
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR,
		  ptv_rdma(&self->pair, IBV_WR_RDMA_WRITE, at_near(self, 0),
			   SLICE, (struct ptv_side){ IOVA, mr.rkey }));
	EXPECT_EQ(SIZE, ptx_check_value(self->far.cpu, SIZE, POISON));
	EXPECT_EQ(0, ptv_dereg(self->pair.ctx, &mr));
}

struct mover {
	struct _test_data_verbs *self;
	volatile __u64 *window;
	volatile unsigned long writes;
	volatile int stop;
	unsigned int moves;
	int error;
};

/* One move after the other would leave no time for traffic. */
static int move_once(struct mover *m, __u32 place)
{
	unsigned long before = m->writes;
	int ret;

	ret = ptx_move(m->self->fd, m->self->far.bo.handle, place, 0);
	while (!ret && m->writes == before && !m->stop)
		sched_yield();
	m->moves++;
	return ret;
}

/* VRAM, system memory and back; what was left is poisoned. */
static void *mover_run(void *arg)
{
	struct mover *m = arg;
	__u64 i;

	while (m->moves < MOVES && !m->error) {
		m->error = move_once(m, SYSTEM);
		for (i = 0; i < 2 * SIZE / 8 && !m->error; i++)
			m->window[i] = POISON;
		if (!m->error)
			m->error = move_once(m, VRAM);
	}
	m->stop = 1;
	return NULL;
}

TEST_F(verbs, moves_under_traffic)
{
	struct mover mover = { .self = self };
	struct drm_p2pbuf_gem_create window;
	__u64 i, slice, seed[SIZE / SLICE] = { };
	char *far = self->far.cpu;
	unsigned long writes = 0;
	pthread_t thread;

	if (strcmp(variant->flavour, "dynamic"))
		SKIP(return, "this flavour stays where it is");

	/* From host memory, so that no other object is in VRAM. */
	ASSERT_EQ(0, ptv_dereg(self->pair.ctx, &self->near.mr));
	ASSERT_EQ(0, ptx_move(self->fd, self->near.bo.handle, SYSTEM, 0));
	ASSERT_EQ(0, ptx_create_window(self->fd, 2 * SIZE, 0, &window));
	mover.window = ptx_mmap(self->fd, 2 * SIZE, window.mmap_offset);
	ASSERT_NE(NULL, mover.window);

	for (i = 0; i < SIZE / SLICE; i++)
		ptx_fill(far + i * SLICE, SLICE, seed[i]);
	ASSERT_EQ(0, pthread_create(&thread, NULL, mover_run, &mover));
	while (!mover.stop) {
		slice = writes % (SIZE / SLICE);
		seed[slice] = ++writes;
		ptx_fill(self->host, SLICE, writes);
		ASSERT_EQ(0, ptv_rdma(&self->pair, IBV_WR_RDMA_WRITE,
				      at_host(self), SLICE,
				      at_far(self, slice * SLICE)));
		ASSERT_EQ(SLICE, ptx_check(far + slice * SLICE, SLICE, writes));
		mover.writes = writes;
	}
	pthread_join(thread, NULL);
	EXPECT_EQ(0, mover.error);
	EXPECT_EQ(MOVES, mover.moves);
	for (i = 0; i < SIZE / SLICE; i++)
		EXPECT_EQ(SLICE, ptx_check(far + i * SLICE, SLICE, seed[i]));
	TH_LOG("%lu writes over %u moves", writes, mover.moves);
}

TEST_F(verbs, pinned_stays)
{
	__u32 other = variant->place ^ (VRAM | SYSTEM);

	ptx_fill(self->far.cpu, SIZE, 6);
	EXPECT_EQ(variant->pins ? -EBUSY : 0,
		  ptx_move(self->fd, self->far.bo.handle, other, 0));
	EXPECT_EQ(variant->pins ? variant->place : other,
		  ptx_placement(self->fd, self->far.bo.handle));
	ASSERT_EQ(0, ptv_rdma(&self->pair, IBV_WR_RDMA_READ, at_near(self, 0),
			      SIZE, at_far(self, 0)));
	EXPECT_EQ(SIZE, ptx_check(self->near.cpu, SIZE, 6));

	ASSERT_EQ(0, ptv_dereg(self->pair.ctx, &self->far.mr));
	EXPECT_EQ(0, pins(self->fd, &self->far));
	EXPECT_EQ(0, ptx_move(self->fd, self->far.bo.handle, other, 0));
	EXPECT_EQ(other, ptx_placement(self->fd, self->far.bo.handle));
	EXPECT_EQ(SIZE, ptx_check(self->far.cpu, SIZE, 6));
}

struct greedy {
	int large;
	int small;
	bool pins;
};

/* As a user of no account. */
static int greedy_child(void *arg)
{
	struct rlimit lock = { MIB, MIB };
	const struct greedy *greedy = arg;
	struct ptv_mr large, small;
	struct ptv_pair pair;

	if (setrlimit(RLIMIT_MEMLOCK, &lock))
		return 1;
	if (ptv_open_pair(PTV_DEVICE, &pair))
		return 2;
	if (ptv_reg(pair.pd, greedy->large, 0, SLICE, 0, PTV_ALL, &large) !=
	    (greedy->pins ? -EDQUOT : 0))
		return 3;
	/* Twice: what was charged is given back. */
	if (ptv_reg(pair.pd, greedy->small, 0, SLICE, 0, PTV_ALL, &small) ||
	    ptv_dereg(pair.ctx, &small) ||
	    ptv_reg(pair.pd, greedy->small, 0, SLICE, 0, PTV_ALL, &small))
		return 4;
	ptv_close(&pair);
	return 0;
}

/* However little of it is registered, all of an object is pinned. */
TEST_F(verbs, over_quota)
{
	struct drm_p2pbuf_device_info info;
	struct buffer large, small;
	struct greedy greedy;
	struct ptv_mr mr;

	close_pair(self);
	self->rebound = true;
	ASSERT_EQ(0, ptr_param("pin_limit_percent", "1"));
	ASSERT_EQ(0, ptr_rebind(&self->region));
	close(self->fd);
	self->fd = ptr_open(&self->region);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	ASSERT_LT(MIB / 2, info.pin_limit);
	ASSERT_GT(8 * MIB, info.pin_limit);
	ASSERT_EQ(0, buffer_create(self->fd, &large, 8 * MIB));
	ASSERT_EQ(0, buffer_create(self->fd, &small, MIB / 2));

	greedy = (struct greedy){ large.dmabuf, small.dmabuf, variant->pins };
	EXPECT_EQ(0, pt_child(greedy_child, &greedy, true));
	EXPECT_EQ(0, pins(self->fd, &large));
	EXPECT_EQ(0, pins(self->fd, &small));

	/* CAP_SYS_RESOURCE and CAP_IPC_LOCK override. */
	ASSERT_EQ(0, ptv_open_pair(PTV_DEVICE, &self->pair));
	EXPECT_EQ(0, ptv_reg(self->pair.pd, large.dmabuf, 0, SLICE, 0, PTV_ALL,
			     &mr));
}

struct unbinder {
	struct ptr_region *region;
	volatile int done;
	int ret;
};

static void *unbinder_run(void *arg)
{
	struct unbinder *u = arg;

	u->ret = ptr_unbind(u->region);
	u->done = 1;
	return NULL;
}

TEST_F(verbs, exporter_unplugged)
{
	struct unbinder unbinder = { .region = &self->region };
	bool waits = variant->unrevocable;
	bool revoked = !strcmp(variant->flavour, "revocable");
	pthread_t thread;
	int i;

	ptx_fill(self->near.cpu, SIZE, 7);
	ptx_fill(self->far.cpu, SIZE, 8);
	self->rebound = true;
	ASSERT_EQ(0, pthread_create(&thread, NULL, unbinder_run, &unbinder));
	if (waits) {
		/* However long: it has to wait for the regions. */
		for (i = 0; i < 20 && !unbinder.done; i++)
			usleep(20000);
		EXPECT_EQ(0, unbinder.done);
		ASSERT_EQ(0, ptv_rdma(&self->pair, IBV_WR_RDMA_READ,
				      at_near(self, 0), SIZE, at_far(self, 0)));
		ASSERT_EQ(0, ptv_dereg(self->pair.ctx, &self->near.mr));
		ASSERT_EQ(0, ptv_dereg(self->pair.ctx, &self->far.mr));
	}
	pthread_join(thread, NULL);
	ASSERT_EQ(0, unbinder.ret);

	/* What was there is in system memory. */
	EXPECT_EQ(SIZE, ptx_check(self->near.cpu, SIZE, waits ? 8 : 7));
	EXPECT_EQ(SIZE, ptx_check(self->far.cpu, SIZE, 8));
	if (waits)
		return;

	ptx_fill(self->host, SLICE, 9);
	EXPECT_EQ(revoked ? IBV_WC_REM_ACCESS_ERR : 0,
		  ptv_rdma(&self->pair, IBV_WR_RDMA_WRITE, at_host(self),
			   SLICE, at_far(self, 0)));
	EXPECT_EQ(SLICE, ptx_check(self->far.cpu, SLICE, revoked ? 8 : 9));
	ASSERT_EQ(0, ptv_connect(&self->pair));
	EXPECT_EQ(revoked, !!ptv_rdma(&self->pair, IBV_WR_RDMA_READ,
				      at_near(self, 0), SLICE,
				      at_far(self, 0)));
	EXPECT_EQ(SLICE, ptx_check(self->near.cpu, SLICE, revoked ? 7 : 9));
	EXPECT_EQ(0, ptv_dereg(self->pair.ctx, &self->near.mr));
	EXPECT_EQ(0, ptv_dereg(self->pair.ctx, &self->far.mr));
}

struct victim {
	struct _test_data_verbs *self;
	int pipe;
};

/* Registers all it was given, and writes for ever. */
static int victim_run(struct victim *v)
{
	struct _test_data_verbs *self = v->self;
	struct ptv_pair pair;

	if (ptv_open_pair(PTV_DEVICE, &pair) ||
	    ptv_reg(pair.pd, self->near.dmabuf, 0, SIZE, 0, PTV_ALL,
		    &self->near.mr) ||
	    ptv_reg(pair.pd, self->far.dmabuf, 0, SIZE, IOVA, PTV_ALL,
		    &self->far.mr))
		return 1;
	while (!ptv_rdma(&pair, IBV_WR_RDMA_WRITE, at_near(self, 0), SIZE,
			 at_far(self, 0)))
		if (write(v->pipe, "", 1) != 1)
			return 2;
	return 3;
}

TEST_F(verbs, process_killed)
{
	int ends[2], status, i;
	struct victim victim;
	char byte;
	pid_t pid;

	close_pair(self);
	EXPECT_EQ(0, pins(self->fd, &self->far));
	ptx_fill(self->near.cpu, SIZE, 9);
	poison(&self->far, SIZE);
	ASSERT_EQ(0, pipe(ends));
	victim = (struct victim){ self, ends[1] };
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(victim_run(&victim));

	ASSERT_EQ(1, read(ends[0], &byte, 1));
	EXPECT_EQ(variant->pins, pins(self->fd, &self->far));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));

	/* Files are put as the process ends, or a moment later. */
	for (i = 0; i < 500 && pins(self->fd, &self->far); i++)
		usleep(20000);
	EXPECT_EQ(0, pins(self->fd, &self->near));
	EXPECT_EQ(0, pins(self->fd, &self->far));
	EXPECT_EQ(SIZE, ptx_check(self->far.cpu, SIZE, 9));
	EXPECT_EQ(0, ptx_move(self->fd, self->far.bo.handle, SYSTEM, 0));
	EXPECT_EQ(0, ptx_move(self->fd, self->far.bo.handle, VRAM, 0));
	EXPECT_EQ(SIZE, ptx_check(self->far.cpu, SIZE, 9));
}

int main(int argc, char **argv)
{
	return ptv_main(argc, argv);
}
