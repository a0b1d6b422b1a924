// SPDX-License-Identifier: GPL-2.0
/*
 * Exporters on both sides move their memory while RDMA goes on.
 *
 * The buffers are the mock exporter's: it moves them from pages to other pages
 * whenever it is asked to, poisons the pages it left and notices whoever
 * still writes to them. Traffic writes a pattern to the peer's buffer, reads
 * it back to another place and compares every byte. No request may fail.
 *
 * Some of them wait for the importer's fence with the reservation lock held,
 * and have a fence that needs this lock: what amdgpu's KFD does. Between the
 * invalidation and the fence of an RDMA importer are its own pieces, a recall
 * that the peer has to answer, and LOCAL_INVs.
 *
 * P2PBUF_RDMA_MOVES=n in the environment: moves of each side (default 25).
 */
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

#include "p2pbuf_test_rig.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_rdma.h"

#define BUFFER		(3 * PTD_MIB)	/* two segments */
#define SLOT		16384ull
#define SLOTS		16
#define LANDING		(BUFFER - SLOTS * SLOT)
#define RECALL_MS	20000
/*
 * One step of a hold. Longer than a recall: where that is what ends it, the
 * end of the connection tells.
 */
#define STEP_MS		(RECALL_MS + PTM_LONG_MS)

static unsigned int wanted_moves(void)
{
	const char *moves = getenv("P2PBUF_RDMA_MOVES");

	return moves && atoi(moves) > 0 ? atoi(moves) : 25;
}

FIXTURE(move) {
	struct ptd_pair pair;
	int mock;
	int local;
	int remote;
};

FIXTURE_SETUP(move)
{
	struct p2pbuf_rdma_remote_info info;
	int ret = ptd_open();

	self->pair = (struct ptd_pair){
		.limits = {
			.recall_ms = RECALL_MS,
			/* While both sides move, and they are slow, too. */
			.wait_ms = 60000 * ptk_slow(),
		},
	};
	if (ret == -ENOENT)
		SKIP(return, "no " PTD_NODE);
	ASSERT_LE(0, ret);
	close(ret);
	self->mock = ptm_open();
	if (self->mock == -ENOENT)
		SKIP(return, "no " P2PBUF_MOCK_DEVICE);
	ASSERT_LE(0, self->mock);
	self->local = ptm_create(self->mock, BUFFER, P2PBUF_MOCK_PAGES,
				 P2PBUF_MOCK_SHUFFLE);
	ASSERT_LE(0, self->local);
	self->remote = ptm_create(self->mock, BUFFER, P2PBUF_MOCK_PAGES,
				  P2PBUF_MOCK_SHUFFLE);
	ASSERT_LE(0, self->remote);
	ASSERT_EQ(0, ptd_pair_open(&self->pair));
	ASSERT_EQ(1, ptd_import(self->pair.a.fd, self->local, 0));
	ASSERT_EQ(1, ptd_import(self->pair.b.fd, self->remote, 0));
	ASSERT_EQ(0, ptd_grant(self->pair.b.fd, 1, PTD_BOTH));
	ASSERT_EQ(0, ptd_remote_info(self->pair.a.fd, 1, PTD_MS, &info));
}

FIXTURE_TEARDOWN(move)
{
	ptd_pair_close(&self->pair);
	close(self->local);
	close(self->remote);
	close(self->mock);
}

/**
 * struct mover - moves a buffer until it has done its share
 * @mock: the open mock
 * @fd: the buffer
 * @evicts: also holds the reservation lock meanwhile, see mover_step()
 * @moves: how often
 * @error: what went wrong
 * @thread: that does it
 */
struct mover {
	int mock;
	int fd;
	bool evicts;
	unsigned int moves;
	int error;
	pthread_t thread;
};

static atomic_uint movers;

/* A hold from its beginning to its end. Returns what became of it. */
static int hold_through(int mock, int fd, __u32 mode)
{
	int id = ptm_hold(mock, fd, mode, STEP_MS), ret;

	if (id < 0)
		return id;
	ret = ptm_call(mock, P2PBUF_MOCK_RELEASE, id);
	if (!ret)
		ret = ptm_hold_wait(mock, id, P2PBUF_MOCK_HOLD_DONE,
				    2 * STEP_MS);
	ptm_call(mock, P2PBUF_MOCK_CLOSE, id);
	return ret;
}

/* Evicted and restored, moved, evicted in a chain of fences, moved. */
static int mover_step(struct mover *m, unsigned int i)
{
	if (!m->evicts)
		return ptm_move(m->mock, m->fd, P2PBUF_MOCK_PAGES, 0);
	switch (i % 4) {
	case 0:
		return hold_through(m->mock, m->fd, P2PBUF_MOCK_HOLD_KFD);
	case 1:
		return ptm_move(m->mock, m->fd, P2PBUF_MOCK_PAGES,
				P2PBUF_MOCK_PIPELINED);
	case 2:
		return hold_through(m->mock, m->fd, P2PBUF_MOCK_HOLD_CHAIN);
	default:
		return ptm_move(m->mock, m->fd, P2PBUF_MOCK_PAGES,
				P2PBUF_MOCK_RESERVE_FIRST);
	}
}

static void *mover_run(void *arg)
{
	struct mover *m = arg;
	unsigned int i;

	for (i = 0; i < m->moves && !m->error; i++) {
		m->error = mover_step(m, i);
		if (m->error)
			fprintf(stderr, "# move %u: %d\n", i, m->error);
	}
	atomic_fetch_sub(&movers, 1);
	return NULL;
}

static int mover_start(struct mover *m, int mock, int fd, bool evicts)
{
	*m = (struct mover){
		.mock = mock, .fd = fd, .evicts = evicts,
		.moves = wanted_moves(),
	};
	atomic_fetch_add(&movers, 1);
	return pthread_create(&m->thread, NULL, mover_run, m);
}

/* checkpatch takes a type in a macro for a factor. */
#define MOVE_DATA FIXTURE_DATA(move)

static __u8 bytes[SLOTS * SLOT];

static int fill_slots(MOVE_DATA *self, __u64 seed)
{
	ptd_fill(bytes, sizeof(bytes), seed);
	return ptm_data(self->mock, self->local, true, 0, bytes, sizeof(bytes));
}

/* All slots at once, there or back; not waited for. */
static void submit_slots(MOVE_DATA *self, bool back)
{
	struct ptd_end *a = &self->pair.a;
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = SLOT,
	};
	int slot;

	for (slot = 0; slot < SLOTS; slot++) {
		/* Across the end of a segment, and not on pages. */
		cmd.remote_offset = 2 * PTD_MIB - SLOTS * SLOT / 2 +
				    slot * SLOT + 77;
		cmd.local_offset = slot * SLOT + (back ? LANDING : 0);
		ptd_prep(&a->ring, a->fd, back ? P2PBUF_RDMA_URING_READ :
						 P2PBUF_RDMA_URING_WRITE,
			 &cmd, slot);
	}
	io_uring_submit(&a->ring);
}

static bool take_slots(MOVE_DATA *self, unsigned int count)
{
	int ret;

	while (count--) {
		ret = ptd_wait(&self->pair.a.ring, NULL);
		if (ret == (int)SLOT)
			continue;
		fprintf(stderr, "# %u before the last: %d\n", count, ret);
		return false;
	}
	return true;
}

/* What was written there comes back, to the last byte. */
static bool comes_back(MOVE_DATA *self, __u64 seed)
{
	__u64 n;

	submit_slots(self, true);
	if (!take_slots(self, SLOTS))
		return false;
	memset(bytes, PTD_POISON, sizeof(bytes));
	if (ptm_data(self->mock, self->local, false, LANDING, bytes,
		     sizeof(bytes)))
		return false;
	n = ptd_check(bytes, sizeof(bytes), seed);
	if (n != sizeof(bytes))
		fprintf(stderr, "# wrong byte at %llu\n", n);
	return n == sizeof(bytes);
}

static bool round_trip(MOVE_DATA *self, __u64 seed)
{
	if (fill_slots(self, seed))
		return false;
	submit_slots(self, false);
	return take_slots(self, SLOTS) && comes_back(self, seed);
}

static void tell(const char *side, int fd)
{
	struct p2pbuf_rdma_info info;

	if (ptd_info(fd, &info))
		return;
	fprintf(stderr,
		"# %s: requests %llu, parked %llu, recalls sent %llu received %llu, registrations %llu\n",
		side, info.reads + info.writes, info.parkings,
		info.recalls_sent, info.recalls_received, info.registrations);
}

static bool nobody_wrote_late(MOVE_DATA *self, int fd)
{
	struct p2pbuf_mock_buffer_info info = ptm_info(self->mock, fd);

	return !info.late_words && !info.moved_active && !info.stale;
}

static void both_sides(struct __test_metadata *_metadata,
		       MOVE_DATA *self, bool local, bool remote, bool evicts)
{
	struct p2pbuf_rdma_info a, b;
	struct mover here, there;
	__u64 rounds = 0;

	if (local)
		ASSERT_EQ(0, mover_start(&here, self->mock, self->local,
					 evicts));
	if (remote)
		ASSERT_EQ(0, mover_start(&there, self->mock, self->remote,
					 evicts));
	do {
		ASSERT_TRUE(round_trip(self, ++rounds));
	} while (atomic_load(&movers));
	if (local) {
		pthread_join(here.thread, NULL);
		ASSERT_EQ(0, here.error);
	}
	if (remote) {
		pthread_join(there.thread, NULL);
		ASSERT_EQ(0, there.error);
	}
	ASSERT_TRUE(round_trip(self, ++rounds));
	tell("a", self->pair.a.fd);
	tell("b", self->pair.b.fd);
	ASSERT_TRUE(nobody_wrote_late(self, self->local));
	ASSERT_TRUE(nobody_wrote_late(self, self->remote));
	ASSERT_EQ(0, ptd_info(self->pair.a.fd, &a));
	ASSERT_EQ(0, ptd_info(self->pair.b.fd, &b));
	EXPECT_EQ(2 * SLOTS * rounds, a.reads + a.writes);
	EXPECT_EQ(0, a.errors + b.errors);
	EXPECT_EQ(0, a.revocations + b.revocations);
	EXPECT_EQ(b.recalls_sent, a.recalls_received);
	if (remote)
		EXPECT_LT(0, b.recalls_sent);
}

TEST_F_TIMEOUT(move, local, 240)
{
	both_sides(_metadata, self, true, false, false);
}

TEST_F_TIMEOUT(move, remote, 240)
{
	both_sides(_metadata, self, false, true, false);
}

TEST_F_TIMEOUT(move, both, 480)
{
	both_sides(_metadata, self, true, true, false);
}

/* A buffer of this side that the peer has, too, and both use it. */
TEST_F_TIMEOUT(move, granted_both_ways, 240)
{
	struct p2pbuf_rdma_remote_info info;
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = SLOT,
		.local_offset = LANDING, .remote_offset = PTD_MIB,
	};
	struct ptd_end *b = &self->pair.b;
	struct mover here, there;

	ASSERT_EQ(0, ptd_grant(self->pair.a.fd, 1, PTD_BOTH));
	ASSERT_EQ(0, ptd_remote_info(b->fd, 1, PTD_MS, &info));
	ASSERT_EQ(0, mover_start(&here, self->mock, self->local, false));
	ASSERT_EQ(0, mover_start(&there, self->mock, self->remote,
				 false));
	do {
		ptd_prep(&b->ring, b->fd, P2PBUF_RDMA_URING_READ, &cmd, 0);
		ASSERT_EQ(1, io_uring_submit(&b->ring));
		ASSERT_TRUE(round_trip(self, 7));
		ASSERT_EQ((int)SLOT, ptd_wait(&b->ring, NULL));
	} while (atomic_load(&movers));
	pthread_join(here.thread, NULL);
	pthread_join(there.thread, NULL);
	ASSERT_EQ(0, here.error);
	ASSERT_EQ(0, there.error);
	ASSERT_TRUE(nobody_wrote_late(self, self->local));
	ASSERT_TRUE(nobody_wrote_late(self, self->remote));
}

/* The exporter takes the memory back: requests say so, the peer is told. */
TEST_F_TIMEOUT(move, taken_back, 120)
{
	struct p2pbuf_rdma_remote_info info;
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = SLOT,
	};
	struct ptd_end *a = &self->pair.a;
	int tries = 0, ret;

	ASSERT_TRUE(round_trip(self, 1));
	ASSERT_EQ(0, ptm_revoke(self->mock, self->local, ENODEV));
	EXPECT_EQ(-ENODEV, ptd_io(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE,
				  &cmd));
	ASSERT_EQ(0, ptm_revoke(self->mock, self->local, 0));
	ASSERT_TRUE(round_trip(self, 2));
	ASSERT_EQ(0, ptm_revoke(self->mock, self->remote, ENODEV));
	do {
		ret = ptd_remote_info(a->fd, 1, 100, &info);
	} while (ret != -EACCES && ++tries < 100);
	EXPECT_EQ(-EACCES, ret);
	EXPECT_EQ(-EACCES, ptd_io(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE,
				  &cmd));
	ASSERT_EQ(0, ptm_revoke(self->mock, self->remote, 0));
	ASSERT_EQ(0, ptd_grant(self->pair.b.fd, 1, PTD_BOTH));
	ASSERT_EQ(0, ptd_regranted(a->fd, 1, &info));
	ASSERT_TRUE(round_trip(self, 3));
}

/* The pair again, with a time limit for requests that wait. */
static bool pair_anew(MOVE_DATA *self, __u32 wait_ms)
{
	struct ptd_pair *pair = &self->pair;
	struct p2pbuf_rdma_remote_info info;

	ptd_pair_close(pair);
	*pair = (struct ptd_pair){
		.limits = { .recall_ms = RECALL_MS, .wait_ms = wait_ms },
	};
	return !ptd_pair_open(pair) &&
	       ptd_import(pair->a.fd, self->local, 0) == 1 &&
	       ptd_import(pair->b.fd, self->remote, 0) == 1 &&
	       !ptd_grant(pair->b.fd, 1, PTD_BOTH) &&
	       !ptd_remote_info(pair->a.fd, 1, PTD_MS, &info);
}

/*
 * Requests wait for a buffer that moves again and again, half of wait_ms each
 * time: that is more than wait_ms in all, but not at a time.
 */
TEST_F_TIMEOUT(move, waits_again, 240)
{
	enum { COUNT = 100, MOVES = 5 };
	const __u32 wait_ms = 1000 * ptk_slow();
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = BUFFER,
	};
	struct ptd_end *a = &self->pair.a;
	unsigned int i, seen = 0;

	ASSERT_TRUE(pair_anew(self, wait_ms));
	for (i = 0; i < COUNT; i++)
		ptd_prep(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE, &cmd, i);
	ASSERT_EQ(COUNT, io_uring_submit(&a->ring));
	for (i = 0; i < MOVES && seen < COUNT; i++) {
		ASSERT_LT(0, ptm_fence(self->mock, self->remote,
				       P2PBUF_MOCK_KERNEL, wait_ms / 2,
				       P2PBUF_MOCK_BACKGROUND));
		ASSERT_EQ(0, ptm_move(self->mock, self->remote,
				      P2PBUF_MOCK_PAGES, 0));
		/* What was under way, and one that has waited. */
		ASSERT_TRUE(ptm_until(io_uring_cq_ready(&a->ring) > seen));
		seen = io_uring_cq_ready(&a->ring);
	}
	EXPECT_GT(COUNT, seen);
	for (i = 0; i < COUNT; i++)
		ASSERT_EQ((int)BUFFER, ptd_wait(&a->ring, NULL));
}

/* ---- exporters that hold the reservation lock ------------------------------ */

TEST_F_TIMEOUT(move, evicted, 240)
{
	both_sides(_metadata, self, true, true, true);
}

#define LOCAL	1
#define REMOTE	2
#define BOTH	(LOCAL | REMOTE)

/* The buffers of @which side, or of both. Returns their number. */
static int sides(MOVE_DATA *self, int which, int *fds)
{
	int nr = 0;

	if (which & LOCAL)
		fds[nr++] = self->local;
	if (which & REMOTE)
		fds[nr++] = self->remote;
	return nr;
}

/* Whoever maps it waits for the exporter's fence, and not with its lock. */
static bool waits_outside(MOVE_DATA *self, int fd)
{
	struct p2pbuf_mock_buffer_info info;

	if (!ptm_until(!ptm_info(self->mock, fd).live))
		return false;
	ptm_sleep_ms(PTM_SHORT_MS);
	info = ptm_info(self->mock, fd);
	return !info.locked && !info.live && info.kernel_fences;
}

/*
 * Evicted while data is under way, the lock held until the importer's fence
 * has signalled; restored behind a fence that needs the lock again. What is
 * submitted meanwhile waits for it.
 */
static void restored(struct __test_metadata *_metadata, MOVE_DATA *self,
		     int which)
{
	struct io_uring *ring = &self->pair.a.ring;
	unsigned int round = 0, met = 0;
	int fds[2], hold[2], nr, i;

	nr = sides(self, which, fds);
	/* On a busy machine all of it may be over before the eviction begins. */
	do {
		ASSERT_EQ(0, fill_slots(self, ++round));
		submit_slots(self, false);
		for (i = 0; i < nr; i++) {
			hold[i] = ptm_hold(self->mock, fds[i],
					   P2PBUF_MOCK_HOLD_KFD, STEP_MS);
			ASSERT_LT(0, hold[i]);
		}
		for (i = 0; i < nr; i++)
			ASSERT_EQ(0, ptm_hold_wait(self->mock, hold[i],
						   P2PBUF_MOCK_HOLD_HELD,
						   STEP_MS));
		met += io_uring_cq_ready(ring) < SLOTS;
		for (i = 0; i < nr; i++)
			ASSERT_EQ(0, ptm_hold_wait(self->mock, hold[i],
						   P2PBUF_MOCK_HOLD_FENCED,
						   2 * STEP_MS));
		submit_slots(self, false);
		for (i = 0; i < nr; i++)
			ASSERT_TRUE(waits_outside(self, fds[i]));
		EXPECT_GE(SLOTS, io_uring_cq_ready(ring));
		for (i = 0; i < nr; i++)
			ASSERT_EQ(0, ptm_call(self->mock, P2PBUF_MOCK_RELEASE,
					      hold[i]));
		for (i = 0; i < nr; i++)
			ASSERT_EQ(0, ptm_hold_wait(self->mock, hold[i],
						   P2PBUF_MOCK_HOLD_DONE,
						   2 * STEP_MS));
		ASSERT_TRUE(take_slots(self, 2 * SLOTS));
		ASSERT_TRUE(comes_back(self, round));
	} while (met < 3 && round < 30);
	fprintf(stderr, "# data under way in %u of %u rounds\n", met, round);
	EXPECT_LT(0, met);
}

TEST_F_TIMEOUT(move, restore_needs_the_lock, 240)
{
	int which;

	for (which = LOCAL; which <= BOTH; which++)
		restored(_metadata, self, which);
}

/* The exporter moves, behind a KERNEL fence that needs the lock to signal. */
static void fenced(struct __test_metadata *_metadata, MOVE_DATA *self,
		   int which, __u32 flags)
{
	int fds[2], fence[2], nr, i;

	nr = sides(self, which, fds);
	ASSERT_EQ(0, fill_slots(self, 10 * which + flags));
	submit_slots(self, false);
	for (i = 0; i < nr; i++) {
		fence[i] = ptm_fence(self->mock, fds[i], P2PBUF_MOCK_KERNEL, 0,
				     P2PBUF_MOCK_NEEDS_RESV);
		ASSERT_LT(0, fence[i]);
	}
	for (i = 0; i < nr; i++)
		ASSERT_EQ(0, ptm_move(self->mock, fds[i], P2PBUF_MOCK_PAGES,
				      flags));
	submit_slots(self, false);
	for (i = 0; i < nr; i++)
		ASSERT_TRUE(waits_outside(self, fds[i]));
	EXPECT_GE(SLOTS, io_uring_cq_ready(&self->pair.a.ring));
	for (i = 0; i < nr; i++)
		ASSERT_EQ(0, ptm_call(self->mock, P2PBUF_MOCK_SIGNAL,
				      fence[i]));
	ASSERT_TRUE(take_slots(self, 2 * SLOTS));
	ASSERT_TRUE(comes_back(self, 10 * which + flags));
	for (i = 0; i < nr; i++)
		ASSERT_TRUE(nobody_wrote_late(self, fds[i]));
}

TEST_F_TIMEOUT(move, fence_needs_the_lock, 240)
{
	static const __u32 flags[] = {
		0, P2PBUF_MOCK_RESERVE_FIRST, P2PBUF_MOCK_PIPELINED,
	};
	unsigned int i;
	int which;

	for (which = LOCAL; which <= BOTH; which++)
		for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
			fenced(_metadata, self, which, flags[i]);
}

/* ---- two importers ---------------------------------------------------------- */

#define DISK_BYTES	65536ull

/* An NVMe drive uses the local buffer at the same time. */
TEST_F_TIMEOUT(move, with_nvme, 240)
{
	static __u8 bytes[DISK_BYTES];
	struct p2pbuf_nvme_bind bind;
	struct ptn_disk disk;
	struct io_uring ring;
	struct mover here, there;
	int node, id, ret;
	__u64 n;

	node = ptn_open();
	if (node < 0 || ptn_disk_open("main", &disk))
		SKIP(return, "no NVMe drive");
	ptd_fill(bytes, sizeof(bytes), 42);
	ASSERT_EQ(0, ptn_disk_write(&disk, bytes, sizeof(bytes), PTN_MIB));
	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	id = ptn_bind_range(node, self->local, disk.fd, 0, 0,
			    P2PBUF_NVME_BIND_ALLOW_SYSTEM, &bind);
	ASSERT_LT(0, id);
	ASSERT_EQ(0, mover_start(&here, self->mock, self->local, false));
	ASSERT_EQ(0, mover_start(&there, self->mock, self->remote,
				 false));
	do {
		memset(bytes, PTD_POISON, sizeof(bytes));
		ASSERT_EQ(0, ptm_data(self->mock, self->local, true, PTD_MIB,
				      bytes, sizeof(bytes)));
		ret = ptn_read(&ring, node, id, PTD_MIB, PTN_MIB, DISK_BYTES);
		ASSERT_EQ((int)DISK_BYTES, ret);
		ASSERT_TRUE(round_trip(self, 11));
		ASSERT_EQ(0, ptm_data(self->mock, self->local, false, PTD_MIB,
				      bytes, sizeof(bytes)));
		n = ptd_check(bytes, sizeof(bytes), 42);
		ASSERT_EQ(sizeof(bytes), n);
	} while (atomic_load(&movers));
	pthread_join(here.thread, NULL);
	pthread_join(there.thread, NULL);
	ASSERT_EQ(0, here.error);
	ASSERT_EQ(0, there.error);
	ASSERT_TRUE(nobody_wrote_late(self, self->local));
	io_uring_queue_exit(&ring);
	ptn_disk_close(&disk);
	close(node);
}

int main(int argc, char **argv)
{
	return ptd_main(argc, argv);
}
