// SPDX-License-Identifier: GPL-2.0
/*
 * The exporter moves the buffer while commands are under way, and the user
 * does not notice: no error, no byte lost.
 *
 * A window over all of the VRAM shows the place that the buffer left. It is
 * poisoned, and looked at again before the buffer comes back: a command that
 * still reads or writes the old place is seen from both sides, the disk or
 * the buffer has poison, or the old place has not.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <liburing.h>

#include "p2pbuf_test_load.h"

#define MARK	0x6d61726b6d61726bULL

/**
 * struct mover - moves a buffer to and fro until it is stopped
 * @node: the exporter's render node, where @handle is known
 * @handle: the buffer
 * @size: of it
 * @mark: its last page, where the buffer is told by
 * @window: all of the VRAM, or NULL: the old place is left alone
 * @vram: its size
 * @place: where the buffer was last seen in it
 * @stop: tells the mover to stop
 * @flags: P2PBUF_MOVE_*
 * @pause: microseconds between two moves
 * @moves: out, those that were done
 * @busy: out, those refused with EBUSY
 * @stray: out, how often the old place was written to
 * @error: out, anything unexpected
 */
struct mover {
	int node;
	__u32 handle;
	__u64 size;
	volatile __u64 *mark;
	char *window;
	__u64 vram;
	__u64 place;
	const volatile int *stop;
	__u32 flags;
	unsigned int pause;

	unsigned long moves;
	unsigned long busy;
	unsigned long stray;
	int error;
};

static int mover_open_window(struct mover *m)
{
	struct drm_p2pbuf_gem_create create;
	struct drm_p2pbuf_device_info info;
	int ret;

	ret = ptx_device_info(m->node, &info);
	if (ret)
		return ret;
	m->vram = info.vram_size;
	ret = ptx_create_window(m->node, m->vram, 0, &create);
	if (ret)
		return ret;
	m->window = ptx_mmap(m->node, m->vram, create.mmap_offset);
	return m->window ? 0 : -ENOMEM;
}

static bool mover_is_at(struct mover *m, __u64 place)
{
	return *(volatile __u64 *)(m->window + place + m->size - PTN_PAGE) ==
	       *m->mark;
}

/* Where is the buffer? It is in VRAM, and all other marks are poisoned. */
static int mover_find(struct mover *m)
{
	__u64 place;

	if (mover_is_at(m, m->place))
		return 0;
	for (place = 0; place + m->size <= m->vram; place += PTN_PAGE) {
		if (mover_is_at(m, place)) {
			m->place = place;
			return 0;
		}
	}
	return -ENOENT;
}

static void mover_move(struct mover *m, __u32 placement)
{
	int ret = ptx_move(m->node, m->handle, placement, m->flags);

	if (!ret)
		m->moves++;
	else if (ret == -EBUSY && m->flags & P2PBUF_MOVE_NOWAIT)
		m->busy++;
	else
		m->error = ret;
}

/* Out, poison what it left, wait, look, and back. */
static void mover_round(struct mover *m)
{
	char *old;

	if (m->window)
		m->error = mover_find(m);
	if (m->error)
		return;
	old = m->window + m->place;
	mover_move(m, P2PBUF_PLACEMENT_SYSTEM);
	if (m->window)
		ptn_poison(old, m->size);
	usleep(m->pause);
	if (m->window && ptn_check_poison(old, m->size) != m->size)
		m->stray++;
	mover_move(m, P2PBUF_PLACEMENT_VRAM);
	usleep(m->pause);
}

static void *mover_run(void *arg)
{
	struct mover *m = arg;

	while (!*m->stop && !m->error)
		mover_round(m);
	return NULL;
}

FIXTURE(move) {
	struct ptn_rig rig;
	struct ptn_load load;
	struct mover mover;
};

FIXTURE_VARIANT(move) {
	const char *role;
	__u32 ring_flags;
	unsigned int depth;
	__u32 len;
	unsigned int ms;
};

FIXTURE_VARIANT_ADD(move, small) {
	.depth = 32,
	.len = 4096,
	.ms = 2000,
};

FIXTURE_VARIANT_ADD(move, large) {
	.depth = 16,
	.len = 512 * PTN_KIB,
	.ms = 2500,
};

/* Commands of many parts: the buffer may move between two of them. */
FIXTURE_VARIANT_ADD(move, split) {
	.depth = 1,
	.len = 16 * PTN_MIB,
	.ms = 4000,
};

FIXTURE_VARIANT_ADD(move, slow) {
	.role = "slow",
	.depth = 32,
	.len = 65536,
	.ms = 3000,
};

FIXTURE_VARIANT_ADD(move, defer_taskrun) {
	.ring_flags = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER,
	.depth = 32,
	.len = 16384,
	.ms = 2000,
};

FIXTURE_VARIANT_ADD(move, sqpoll) {
	.ring_flags = IORING_SETUP_SQPOLL,
	.depth = 32,
	.len = 16384,
	.ms = 2000,
};

FIXTURE_VARIANT_ADD(move, iopoll) {
	.ring_flags = IORING_SETUP_IOPOLL,
	.depth = 32,
	.len = 16384,
	.ms = 2000,
};

static volatile int stop;

FIXTURE_SETUP(move)
{
	struct ptn_rig *rig = &self->rig;
	__u64 size = variant->depth * variant->len + PTN_PAGE;
	struct ptn_load *load = &self->load;

	if (ptn_topology("swiotlb"))
		SKIP(return, "host memory needs bounce buffers here");
	PTN_RIG_OPEN(rig, .role = variant->role, .kind = PTN_VRAM,
		     .size = size, .ring_flags = variant->ring_flags);
	ASSERT_EQ(0, ptn_load_init(load, rig, variant->depth, variant->len,
				   1UL << 40));
	if (variant->len > PTN_READ_SIZE / 2) {
		load->read_size = 2 * variant->len;
		ASSERT_EQ(0, ptn_disk_fill(&rig->disk, load->read_area,
					   load->read_size, PTN_LOAD_SEED,
					   rig->scratch, PTN_SCRATCH));
	}
	load->stop = &stop;
	self->mover = (struct mover){
		.node = rig->buffer.node,
		.handle = rig->buffer.handle,
		.size = size,
		.mark = (void *)((char *)rig->buffer.map + size - PTN_PAGE),
		.stop = &stop,
		.pause = 2000,
	};
	*self->mover.mark = MARK;
}

FIXTURE_TEARDOWN(move)
{
	ptn_rig_close(&self->rig);
}

/* Ends all that looks at stop. */
static void *clock_run(void *arg)
{
	usleep(*(unsigned int *)arg * 1000);
	stop = 1;
	return NULL;
}

/* Load here, mover beside it, for so long. */
static void load_and_move(struct __test_metadata *_metadata,
			  struct ptn_rig *rig, struct ptn_load *load,
			  struct mover *mover, unsigned int ms)
{
	struct p2pbuf_nvme_bind_info info;
	pthread_t clock, moving;

	ASSERT_EQ(0, pthread_create(&moving, NULL, mover_run, mover));
	ASSERT_EQ(0, pthread_create(&clock, NULL, clock_run, &ms));
	EXPECT_EQ(0, ptn_load_run(load));
	ASSERT_EQ(0, pthread_join(clock, NULL));
	ASSERT_EQ(0, pthread_join(moving, NULL));
	EXPECT_EQ(0, load->wrong);
	EXPECT_EQ(0, load->failed)
		TH_LOG("%s", strerror(-load->error));
	EXPECT_LT(0, load->done);
	EXPECT_EQ(0, mover->error);
	EXPECT_EQ(0, mover->stray);
	EXPECT_EQ(MARK, *mover->mark);
	ASSERT_EQ(0, ptn_info(rig->node, rig->id, &info));
	EXPECT_EQ(0, info.errors);
	/* One that finds the buffer not mapped ends no mapping. */
	EXPECT_GE(mover->moves + mover->busy, info.invalidations);
	TH_LOG("%lu commands, %lu moves, %lu busy, %llu KiB peer, %llu KiB system, %llu deferred",
	       load->done, mover->moves, mover->busy, info.bytes_peer >> 10,
	       info.bytes_system >> 10, info.deferred);
}

/*
 * Until I/O was seen in both places: the fewer commands there are, the longer
 * the buffer has to rest in each.
 */
TEST_F_TIMEOUT(move, under_load, 120)
{
	struct p2pbuf_nvme_bind_info info;
	unsigned int round;

	ASSERT_EQ(0, mover_open_window(&self->mover));
	for (round = 0; round < 8; round++) {
		stop = 0;
		load_and_move(_metadata, &self->rig, &self->load, &self->mover,
			      variant->ms);
		ASSERT_EQ(0, ptn_info(self->rig.node, self->rig.id, &info));
		if (info.bytes_peer && info.bytes_system &&
		    self->mover.moves >= 4)
			break;
		self->mover.pause *= 4;
	}
	EXPECT_LE(4, self->mover.moves);
	EXPECT_LT(0, info.bytes_peer);
	EXPECT_LT(0, info.bytes_system);
	EXPECT_LE(2, info.invalidations);
}

/* A mover that does not wait is refused, or finds nobody in its way. */
TEST_F_TIMEOUT(move, nowait, 60)
{
	self->mover.flags = P2PBUF_MOVE_NOWAIT;
	load_and_move(_metadata, &self->rig, &self->load, &self->mover, 500);
}

/* By another process, which has the exporter's file and nothing else. */
TEST_F_TIMEOUT(move, by_another_process, 60)
{
	static volatile int never;
	unsigned int ms = 700;
	struct mover *mover;
	pthread_t clock;
	int status;
	pid_t pid;

	mover = mmap(NULL, sizeof(*mover), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mover);
	*mover = self->mover;
	mover->stop = &never;
	pid = fork();
	if (!pid) {
		mover_run(mover);
		_exit(1);
	}
	ASSERT_EQ(0, pthread_create(&clock, NULL, clock_run, &ms));
	EXPECT_EQ(0, ptn_load_run(&self->load));
	ASSERT_EQ(0, pthread_join(clock, NULL));
	EXPECT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, mover->error);
	EXPECT_LE(2, mover->moves);
	EXPECT_EQ(0, self->load.wrong);
	EXPECT_EQ(0, self->load.failed);
}

/* Does another process's load get that far? A slow machine takes its time. */
static bool comes_to(const volatile unsigned long *done, unsigned long commands)
{
	unsigned int ms;

	for (ms = 0; ms < 20000 && *done < commands; ms += 10)
		usleep(10000);
	return *done >= commands;
}

/* A process that is stopped now and then has no error to show for it. */
TEST_F_TIMEOUT(move, stopped_and_continued, 60)
{
	struct ptn_load *load;
	struct ptn_rig *rig = &self->rig;
	int i, status;
	pid_t pid;

	if (variant->ring_flags & IORING_SETUP_SINGLE_ISSUER)
		SKIP(return, "the ring belongs to another process");
	load = mmap(NULL, sizeof(*load), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, load);
	*load = self->load;
	pid = fork();
	if (!pid) {
		struct io_uring ring;
		static volatile int never;

		if (io_uring_queue_init(64, &ring, variant->ring_flags))
			_exit(1);
		load->ring = &ring;
		load->stop = &never;
		ptn_load_run(load);
		_exit(1);
	}
	EXPECT_TRUE(comes_to(&load->done, 1));
	for (i = 0; i < 6; i++) {
		usleep(20000);
		EXPECT_EQ(0, kill(pid, SIGSTOP));
		EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
				      i % 2 ? P2PBUF_PLACEMENT_VRAM :
				      P2PBUF_PLACEMENT_SYSTEM, 0));
		usleep(20000);
		EXPECT_EQ(0, kill(pid, SIGCONT));
	}
	EXPECT_TRUE(comes_to(&load->done, load->done + 1));
	EXPECT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(0, load->failed)
		TH_LOG("%s", strerror(-load->error));
	EXPECT_EQ(0, load->wrong);
}

/* The binding insists on VRAM: refused or done, but never half. */
TEST_F_TIMEOUT(move, peer_only, 60)
{
	struct ptn_rig *rig = &self->rig;
	struct p2pbuf_nvme_bind_info info;
	struct ptn_io io = {
		.op = PTN_READ, .dev = PTN_READ_AREA, .len = variant->len,
	};
	unsigned int ms = 500, done = 0, refused = 0;
	pthread_t clock, moving;
	int res;

	io.id = ptn_bind(rig->node, rig->buffer.dmabuf, rig->disk.fd,
			 P2PBUF_NVME_BIND_PEER_ONLY);
	ASSERT_LT(0, (int)io.id);
	ASSERT_EQ(0, pthread_create(&moving, NULL, mover_run, &self->mover));
	ASSERT_EQ(0, pthread_create(&clock, NULL, clock_run, &ms));
	while (!stop || !done) {
		ptn_poison(rig->buffer.map, io.len);
		res = ptn_io(&rig->ring, rig->node, &io);
		if (res == (int)io.len) {
			done++;
			EXPECT_EQ(io.len, ptn_check(rig->buffer.map, io.len,
						    PTN_LOAD_SEED, io.dev));
			continue;
		}
		refused++;
		EXPECT_EQ(-EREMOTEIO, res);
		/* parts of a split one may have been done before */
		if (io.len <= rig->bind.max_io)
			EXPECT_EQ(io.len, ptn_check_poison(rig->buffer.map,
							   io.len));
	}
	ASSERT_EQ(0, pthread_join(clock, NULL));
	ASSERT_EQ(0, pthread_join(moving, NULL));
	EXPECT_EQ(0, self->mover.error);
	ASSERT_EQ(0, ptn_info(rig->node, io.id, &info));
	EXPECT_EQ(0, info.bytes_system);
	TH_LOG("%u done, %u refused", done, refused);
}

/* ---- eviction --------------------------------------------------------------- */

/**
 * struct evictor - takes all of the VRAM, again and again
 * @buffer: whom it shall meet
 * @other: a render node of its own
 * @vram: how much there is
 * @rounds: how often
 * @missed: out, times the buffer was not evicted
 * @error: out
 */
struct evictor {
	struct ptn_buffer *buffer;
	int other;
	__u64 vram;
	int rounds;
	int missed;
	int error;
};

static void *evictor_run(void *arg)
{
	struct drm_p2pbuf_gem_create create;
	struct drm_p2pbuf_gem_info info;
	struct evictor *e = arg;

	while (e->rounds-- && !e->error) {
		usleep(30000);
		e->error = ptx_create(e->other, e->vram,
				      P2PBUF_PLACEMENT_VRAM, 0, &create);
		if (e->error)
			break;
		e->error = ptx_info(e->buffer->node, e->buffer->handle, &info);
		if (info.placement != P2PBUF_PLACEMENT_SYSTEM)
			e->missed++;
		usleep(30000);
		ptx_close(e->other, create.handle);
		e->error = ptx_move(e->buffer->node, e->buffer->handle,
				    P2PBUF_PLACEMENT_VRAM, 0);
	}
	stop = 1;
	return NULL;
}

/* Somebody else needs the VRAM: the exporter evicts the buffer by itself. */
TEST_F_TIMEOUT(move, evicted, 60)
{
	struct drm_p2pbuf_device_info device;
	struct drm_p2pbuf_gem_info info;
	struct ptn_rig *rig = &self->rig;
	struct evictor evictor = {
		.buffer = &rig->buffer, .other = ptx_open(0), .rounds = 2,
	};
	pthread_t thread;

	ASSERT_LE(0, evictor.other);
	ASSERT_EQ(0, ptx_device_info(evictor.other, &device));
	evictor.vram = device.vram_size;
	ASSERT_EQ(0, pthread_create(&thread, NULL, evictor_run, &evictor));
	EXPECT_EQ(0, ptn_load_run(&self->load));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, evictor.error);
	EXPECT_EQ(0, evictor.missed);
	EXPECT_EQ(0, self->load.wrong);
	EXPECT_EQ(0, self->load.failed);
	ASSERT_EQ(0, ptx_info(rig->buffer.node, rig->buffer.handle, &info));
	EXPECT_LE(2, info.evictions);
	close(evictor.other);
}

TEST_HARNESS_MAIN
