// SPDX-License-Identifier: GPL-2.0
/*
 * P2PBUF_RDMA_CANCEL: what it says is what becomes of the request.
 *
 *	0		the CQE says ECANCELED
 *	EALREADY	it does not: all of the request was posted
 *	ENOENT		it does not: the request had ended
 *
 * That holds whatever else happens at the time: grants, recalls, moves on
 * either side. Each request has a place of its own in the peer's buffer. One
 * that was done has filled it; one that was cancelled may have filled a part
 * of it, with nothing but its own bytes.
 */
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

#include "p2pbuf_test_rig.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_rdma.h"

#define BUFFER		(8 * PTD_MIB)

FIXTURE(cancel) {
	struct ptd_pair pair;
	struct ptn_buffer from;
	int mock;
	int to;
	bool open;
};

FIXTURE_SETUP(cancel)
{
	int ret = ptd_open();

	self->open = false;
	if (ret == -ENOENT)
		SKIP(return, "no " PTD_NODE);
	ASSERT_LE(0, ret);
	close(ret);
	self->mock = ptm_open();
	if (self->mock < 0)
		SKIP(return, "no " P2PBUF_MOCK_DEVICE);
	ret = ptn_buffer_alloc(&self->from, PTN_UDMABUF, BUFFER);
	if (ret == -ENOENT)
		SKIP(return, "no udmabuf");
	ASSERT_EQ(0, ret);
	self->to = ptm_create(self->mock, BUFFER, P2PBUF_MOCK_PAGES, 0);
	ASSERT_LE(0, self->to);
	self->pair = (struct ptd_pair){
		.limits = { .recall_ms = 20000, .wait_ms = 60000 },
	};
	ASSERT_EQ(0, ptd_pair_open(&self->pair));
	self->open = true;
	ASSERT_EQ(1, ptd_import(self->pair.a.fd, self->from.dmabuf, 1));
	ASSERT_EQ(1, ptd_import(self->pair.b.fd, self->to, 1));
}

FIXTURE_TEARDOWN(cancel)
{
	if (!self->open)
		return;
	ptd_pair_close(&self->pair);
	ptn_buffer_free(&self->from);
	close(self->to);
	close(self->mock);
}

/* checkpatch takes a type in a macro for a factor. */
#define CANCEL_DATA FIXTURE_DATA(cancel)

static void prep_write(CANCEL_DATA *self, struct io_uring *ring, __u64 data,
		       __u64 offset, __u64 length)
{
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = length,
		.local_offset = offset, .remote_offset = offset,
	};

	ptd_prep(ring, self->pair.a.fd, P2PBUF_RDMA_URING_WRITE, &cmd, data);
}

static __u32 parked(int fd)
{
	struct p2pbuf_rdma_info info;

	return ptd_info(fd, &info) ? ~0u : info.parked;
}

/* ---- one at a time ---------------------------------------------------------- */

/* Of several that wait for a grant this one; the others go on. */
TEST_F(cancel, parked)
{
	struct ptd_end *a = &self->pair.a;
	unsigned int seen = 0, i;
	__u64 data = 0;
	int ret;

	EXPECT_EQ(-ENOENT, ptd_cancel(a->fd, 0));
	for (i = 0; i < 3; i++)
		prep_write(self, &a->ring, 10 + i, i * 4096, 4096);
	ASSERT_EQ(3, io_uring_submit(&a->ring));
	EXPECT_EQ(3, parked(a->fd));
	EXPECT_EQ(-ENOENT, ptd_cancel(a->fd, 13));
	EXPECT_EQ(-ENOENT, ptd_cancel(self->pair.b.fd, 11));
	EXPECT_EQ(0, ptd_cancel(a->fd, 11));
	EXPECT_EQ(-ECANCELED, ptd_wait(&a->ring, &data));
	EXPECT_EQ(11, data);
	EXPECT_EQ(-ENOENT, ptd_cancel(a->fd, 11));
	EXPECT_EQ(2, parked(a->fd));
	ASSERT_EQ(0, ptd_grant(self->pair.b.fd, 1, PTD_BOTH));
	for (i = 0; i < 2; i++) {
		ret = ptd_wait(&a->ring, &data);
		EXPECT_EQ(4096, ret);
		seen |= 1 << (data - 10);
	}
	EXPECT_EQ(5, seen);
	EXPECT_EQ(-ENOENT, ptd_cancel(a->fd, 10));
}

/* The same name twice: one of them for each call. */
TEST_F(cancel, of_one_name)
{
	struct ptd_end *a = &self->pair.a;
	int i;

	for (i = 0; i < 2; i++)
		prep_write(self, &a->ring, 7, i * 4096, 4096);
	ASSERT_EQ(2, io_uring_submit(&a->ring));
	EXPECT_EQ(0, ptd_cancel(a->fd, 7));
	EXPECT_EQ(-ECANCELED, ptd_wait(&a->ring, NULL));
	EXPECT_EQ(1, parked(a->fd));
	EXPECT_EQ(0, ptd_cancel(a->fd, 7));
	EXPECT_EQ(-ECANCELED, ptd_wait(&a->ring, NULL));
	EXPECT_EQ(-ENOENT, ptd_cancel(a->fd, 7));
}

TEST_F(cancel, receiver)
{
	const struct p2pbuf_rdma_cmd none = {};
	struct ptd_end *a = &self->pair.a;

	ptd_prep(&a->ring, a->fd, P2PBUF_RDMA_URING_RECV, &none, 5);
	ASSERT_EQ(1, io_uring_submit(&a->ring));
	EXPECT_EQ(0, ptd_cancel(a->fd, 5));
	EXPECT_EQ(-ECANCELED, ptd_wait(&a->ring, NULL));
}

/* What io_uring has for this does not see commands. */
TEST_F(cancel, by_io_uring)
{
	struct ptd_end *a = &self->pair.a;
	struct io_uring_sqe *sqe;
	__u64 data = 0;

	prep_write(self, &a->ring, 3, 0, 4096);
	ASSERT_EQ(1, io_uring_submit(&a->ring));
	sqe = io_uring_get_sqe(&a->ring);
	ASSERT_NE(NULL, sqe);
	io_uring_prep_cancel64(sqe, 3, 0);
	sqe->user_data = 4;
	ASSERT_EQ(1, io_uring_submit(&a->ring));
	EXPECT_EQ(-ENOENT, ptd_wait(&a->ring, &data))
		TH_LOG("a kernel in which it does: say so in the documents");
	EXPECT_EQ(4, data);
	EXPECT_EQ(0, ptd_cancel(a->fd, 3));
	EXPECT_EQ(-ECANCELED, ptd_wait(&a->ring, &data));
	EXPECT_EQ(3, data);
}

TEST_F(cancel, bad_arguments)
{
	struct p2pbuf_rdma_cancel arg = { .size = sizeof(arg), .flags = 1 };
	int fd = ptd_open();

	EXPECT_EQ(-EINVAL, ptd_ioctl(self->pair.a.fd, P2PBUF_RDMA_CANCEL,
				     &arg));
	EXPECT_EQ(-ENOENT, ptd_cancel(fd, 0));
	EXPECT_EQ(-ENOENT, ptd_cancel(self->pair.listener, 0));
	close(fd);
}

/* ---- many, and what was said of each is true --------------------------------- */

#define SLOT		(128 * 1024ull)
#define SLOTS		(BUFFER / SLOT)

/**
 * struct story - a request
 * @said: what CANCEL returned; 1: it was not asked
 * @res: of its CQE
 * @ended: it has one
 */
struct story {
	int said;
	int res;
	bool ended;
};

static bool story_is_true(const struct story *s, unsigned int i)
{
	bool canceled = s->res == -ECANCELED, ok;

	ok = s->ended && (s->said == 1 ? !canceled :
			  s->said == 0 ? canceled :
			  (s->said == -EALREADY || s->said == -ENOENT) &&
			  !canceled);
	ok = ok && (canceled || s->res == (int)SLOT);
	if (!ok)
		fprintf(stderr, "# request %u: cancel said %d, the CQE %d\n",
			i, s->said, s->res);
	return ok;
}

/* All of its own bytes, or some of them and poison. */
static bool slot_is_right(const __u8 *slot, __u64 place, __u64 seed, bool done)
{
	__u64 i;

	for (i = 0; i < SLOT; i++)
		if (slot[i] != ptd_byte(seed, place + i) &&
		    (done || slot[i] != PTD_POISON))
			return false;
	return true;
}

static bool all_is_right(CANCEL_DATA *self, const struct story *stories,
			 __u64 seed)
{
	static __u8 bytes[BUFFER];
	unsigned int i;

	memset(bytes, 0, sizeof(bytes));
	if (ptm_data(self->mock, self->to, false, 0, bytes, BUFFER))
		return false;
	for (i = 0; i < SLOTS; i++) {
		if (!story_is_true(&stories[i], i))
			return false;
		if (slot_is_right(bytes + i * SLOT, i * SLOT, seed,
				  stories[i].res == (int)SLOT))
			continue;
		fprintf(stderr, "# request %u: wrong bytes, the CQE %d\n", i,
			stories[i].res);
		return false;
	}
	return true;
}

static bool all_poison(CANCEL_DATA *self, __u64 seed)
{
	static __u8 bytes[BUFFER];

	ptd_fill(self->from.map, BUFFER, seed);
	memset(bytes, PTD_POISON, sizeof(bytes));
	return !ptm_data(self->mock, self->to, true, 0, bytes, BUFFER);
}

/* Submit all slots, cancel every other one, collect. */
static bool round_of_all(CANCEL_DATA *self, struct story *stories,
			 unsigned int first)
{
	struct ptd_end *a = &self->pair.a;
	unsigned int i;
	__u64 data = 0;
	int res;

	for (i = 0; i < SLOTS; i++) {
		stories[i] = (struct story){ .said = 1 };
		prep_write(self, &a->ring, i, i * SLOT, SLOT);
	}
	if (io_uring_submit(&a->ring) < 0)
		return false;
	/* From the front as from the back: under way, in the queue, parked. */
	for (i = first; i < SLOTS; i += 2)
		stories[i].said = ptd_cancel(a->fd, i);
	for (i = 0; i < SLOTS; i++) {
		res = ptd_wait(&a->ring, &data);
		if (data >= SLOTS || stories[data].ended)
			return false;
		stories[data].ended = true;
		stories[data].res = res;
	}
	return true;
}

/* More than fits into the queue: some are under way, the others wait. */
TEST_F_TIMEOUT(cancel, under_way, 120)
{
	struct story stories[SLOTS];
	unsigned int canceled = 0, already = 0, tries, i;

	ASSERT_EQ(0, ptd_grant(self->pair.b.fd, 1, PTD_BOTH));
	for (tries = 0; tries < 200 && (!canceled || !already); tries++) {
		ASSERT_TRUE(all_poison(self, tries));
		ASSERT_TRUE(round_of_all(self, stories, tries % 2));
		ASSERT_TRUE(all_is_right(self, stories, tries));
		for (i = 0; i < SLOTS; i++) {
			canceled += !stories[i].said;
			already += stories[i].said == -EALREADY;
		}
	}
	EXPECT_NE(0, canceled);
	EXPECT_NE(0, already);
}

/* Cut at its first piece: it ends when that has ended, and no other begins. */
TEST_F_TIMEOUT(cancel, between_pieces, 120)
{
	struct ptd_end *a = &self->pair.a;
	struct p2pbuf_rdma_info info;
	unsigned int tries, cut = 0;
	int said, res;

	ASSERT_EQ(0, ptd_grant(self->pair.b.fd, 1, PTD_BOTH));
	for (tries = 0; tries < 200 && !cut; tries++) {
		prep_write(self, &a->ring, 1, 0, BUFFER);
		ASSERT_EQ(1, io_uring_submit(&a->ring));
		said = ptd_cancel(a->fd, 1);
		res = ptd_wait(&a->ring, NULL);
		ASSERT_EQ(said ? (int)BUFFER : -ECANCELED, res);
		cut += !said;
	}
	EXPECT_NE(0, cut);
	ASSERT_EQ(0, ptd_info(a->fd, &info));
	EXPECT_EQ(0, info.parked);
	EXPECT_EQ(P2PBUF_RDMA_UP, info.state);
	prep_write(self, &a->ring, 1, 0, BUFFER);
	ASSERT_EQ(1, io_uring_submit(&a->ring));
	EXPECT_EQ((int)BUFFER, ptd_wait(&a->ring, NULL));
}

/**
 * struct disturber - does something else until it is told to stop
 * @self: the fixture
 * @what: it does once
 * @error: of that
 * @thread: that does it
 */
struct disturber {
	CANCEL_DATA *self;
	int (*what)(CANCEL_DATA *self);
	int error;
	pthread_t thread;
};

static atomic_bool disturbing;

static void *disturber_run(void *arg)
{
	struct disturber *d = arg;

	while (!d->error && atomic_load(&disturbing)) {
		d->error = d->what(d->self);
		usleep(500);
	}
	return NULL;
}

static int move_target(CANCEL_DATA *self)
{
	return ptm_move(self->mock, self->to, P2PBUF_MOCK_PAGES, 0);
}

/* Every remapping of ours parks what is not posted. */
static int grant_source(CANCEL_DATA *self)
{
	int ret = ptd_grant(self->pair.a.fd, 1, P2PBUF_RDMA_RIGHT_READ);

	return ret ? ret : ptd_recall(self->pair.a.fd, 1);
}

static void disturbed(struct __test_metadata *_metadata, CANCEL_DATA *self,
		      int (*what)(CANCEL_DATA *self), unsigned int rounds)
{
	struct disturber d = { .self = self, .what = what };
	struct story stories[SLOTS];
	unsigned int i;

	ASSERT_EQ(0, ptd_grant(self->pair.b.fd, 1, PTD_BOTH));
	atomic_store(&disturbing, true);
	ASSERT_EQ(0, pthread_create(&d.thread, NULL, disturber_run, &d));
	for (i = 0; i < rounds; i++) {
		ASSERT_TRUE(all_poison(self, i));
		ASSERT_TRUE(round_of_all(self, stories, i % 2));
		ASSERT_TRUE(all_is_right(self, stories, i));
	}
	atomic_store(&disturbing, false);
	pthread_join(d.thread, NULL);
	EXPECT_EQ(0, d.error);
	EXPECT_EQ(0, parked(self->pair.a.fd));
}

TEST_F_TIMEOUT(cancel, while_recalled, 240)
{
	disturbed(_metadata, self, move_target, 4);
}

TEST_F_TIMEOUT(cancel, while_granted, 240)
{
	disturbed(_metadata, self, grant_source, 4);
}

/* ---- against the end ---------------------------------------------------------- */

struct canceler {
	int fd;
	unsigned int canceled;
	unsigned int wrong;
};

static void *canceler_run(void *arg)
{
	struct canceler *c = arg;
	unsigned int i;
	int ret;

	while (atomic_load(&disturbing)) {
		for (i = 0; i < 16; i++) {
			ret = ptd_cancel(c->fd, i);
			c->canceled += !ret;
			c->wrong += ret && ret != -ENOENT && ret != -EALREADY;
		}
	}
	return NULL;
}

/* The ring is closed while its requests are cancelled one by one. */
TEST_F_TIMEOUT(cancel, ring_closed, 120)
{
	struct canceler c = { .fd = self->pair.a.fd };
	struct io_uring ring;
	unsigned int round, i;
	pthread_t thread;

	atomic_store(&disturbing, true);
	ASSERT_EQ(0, pthread_create(&thread, NULL, canceler_run, &c));
	for (round = 0; round < 20; round++) {
		ASSERT_EQ(0, ptd_ring(&ring, 16));
		for (i = 0; i < 16; i++)
			prep_write(self, &ring, i, i * 4096, 4096);
		ASSERT_EQ(16, io_uring_submit(&ring));
		io_uring_queue_exit(&ring);
	}
	for (i = 0; i < 1000 && parked(c.fd); i++)
		usleep(10000);
	atomic_store(&disturbing, false);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, parked(c.fd));
	EXPECT_EQ(0, c.wrong);
}

/* The peer leaves while requests are cancelled: each has one end or the other. */
TEST_F_TIMEOUT(cancel, peer_leaves, 120)
{
	struct ptd_end *a = &self->pair.a;
	struct canceler c = { .fd = a->fd };
	unsigned int i, canceled = 0;
	pthread_t thread;
	int res;

	for (i = 0; i < 16; i++)
		prep_write(self, &a->ring, i, i * 4096, 4096);
	ASSERT_EQ(16, io_uring_submit(&a->ring));
	atomic_store(&disturbing, true);
	ASSERT_EQ(0, pthread_create(&thread, NULL, canceler_run, &c));
	close(self->pair.b.fd);
	self->pair.b.fd = -1;
	for (i = 0; i < 16; i++) {
		res = ptd_wait(&a->ring, NULL);
		EXPECT_TRUE(res == -ECANCELED || res == -ECONNRESET)
			TH_LOG("%d", res);
		canceled += res == -ECANCELED;
	}
	atomic_store(&disturbing, false);
	pthread_join(thread, NULL);
	EXPECT_EQ(c.canceled, canceled);
	EXPECT_EQ(0, c.wrong);
	EXPECT_EQ(-ENOENT, ptd_cancel(a->fd, 0));
}

/* ---- ended by the peer ------------------------------------------------------ */

/*
 * Recalled for good when some of its pieces are under way and the others are
 * not posted: the completion of the last one gives the lease back and ends the
 * request, once.
 */
static void recalled_for_good(struct __test_metadata *_metadata,
			      CANCEL_DATA *self, __u32 op)
{
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = BUFFER,
	};
	struct ptd_end *a = &self->pair.a, *b = &self->pair.b;
	struct p2pbuf_rdma_remote_info remote;
	unsigned int tries, cut = 0;
	int res;

	for (tries = 0; tries < 200 && cut < 4; tries++) {
		ASSERT_EQ(0, ptd_grant(b->fd, 1, PTD_BOTH));
		ASSERT_EQ(0, ptd_regranted(a->fd, 1, &remote));
		/* Ours is registered before the one that is to be cut. */
		prep_write(self, &a->ring, 0, 0, 4096);
		ASSERT_EQ(1, io_uring_submit(&a->ring));
		ASSERT_EQ(4096, ptd_wait(&a->ring, NULL));
		ptd_prep(&a->ring, a->fd, op, &cmd, 1);
		ASSERT_EQ(1, io_uring_submit(&a->ring));
		ASSERT_EQ(0, ptd_recall(b->fd, 1));
		res = ptd_wait(&a->ring, NULL);
		ASSERT_TRUE(res == (int)BUFFER || res == -EACCES)
			TH_LOG("%d", res);
		cut += res == -EACCES;
	}
	EXPECT_NE(0, cut);
	EXPECT_EQ(0, parked(a->fd));
}

TEST_F_TIMEOUT(cancel, write_recalled_for_good, 120)
{
	recalled_for_good(_metadata, self, P2PBUF_RDMA_URING_WRITE);
}

TEST_F_TIMEOUT(cancel, read_recalled_for_good, 120)
{
	recalled_for_good(_metadata, self, P2PBUF_RDMA_URING_READ);
}

int main(int argc, char **argv)
{
	return ptd_main(argc, argv);
}
