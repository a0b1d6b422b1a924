// SPDX-License-Identifier: GPL-2.0
/*
 * Commands beside others in one io_uring_enter().
 *
 * io_uring collects what it submits and gives it to the drivers at the end,
 * and there a driver may sleep for as long as it likes, on user space too. An
 * exporter that wants its memory back must not wait for that.
 */
#include <pthread.h>
#include <liburing.h>

#include "p2pbuf_test_load.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_nbd.h"
#include "p2pbuf_test_until.h"

#define SIZE	(16 * PTN_MIB)

/* Enough of them to be collected; together more than the socket takes. */
#define OTHERS	8
#define OTHER	65536

/* Of ours. */
#define OURS	4

FIXTURE(batch) {
	struct ptn_rig rig;
	struct ptb_nbd nbd;
	int mock;
};

#define BATCH FIXTURE_DATA(batch)

FIXTURE_VARIANT(batch) {
	__u32 ring_flags;
	__u32 flags;
	__u32 len;
};

FIXTURE_VARIANT_ADD(batch, fast) { .len = 65536, };
/* Not the fast path. */
FIXTURE_VARIANT_ADD(batch, flush) {
	.len = 65536,
	.flags = P2PBUF_NVME_FLUSH,
};

FIXTURE_VARIANT_ADD(batch, split) { .len = SIZE / OURS, };
FIXTURE_VARIANT_ADD(batch, sqpoll) {
	.len = 65536,
	.ring_flags = IORING_SETUP_SQPOLL,
};

FIXTURE_SETUP(batch)
{
	const char *why;

	PTN_RIG_OPEN(&self->rig, .kind = PTN_VRAM, .size = SIZE,
		     .ring_flags = variant->ring_flags);
	why = ptb_open(&self->nbd);
	if (why)
		SKIP(return, "%s", why);
	self->mock = ptm_open();
	ASSERT_LE(0, self->mock);
	ASSERT_EQ(0, ptn_disk_fill(&self->rig.disk, PTN_READ_AREA,
				   PTN_READ_SIZE, 1, self->rig.scratch,
				   PTN_SCRATCH));
}

FIXTURE_TEARDOWN(batch)
{
	ptn_rig_close(&self->rig);
	ptb_close(&self->nbd);
	close(self->mock);
}

/* A thread that submits what is in the ring. */
struct submitter {
	struct io_uring *ring;
	pthread_t thread;
	int ret;
};

static void *submit_run(void *arg)
{
	struct submitter *s = arg;

	s->ret = io_uring_submit(s->ring);
	return NULL;
}

/* A thread that ends what the commands are under way with. */
struct ender {
	struct ptn_rig *rig;
	int (*deed)(struct ptn_rig *rig);
	pthread_t thread;
	int ret;
	volatile int over;
};

static void *end_run(void *arg)
{
	struct ender *e = arg;

	e->ret = e->deed(e->rig);
	e->over = 1;
	return NULL;
}

static int move_out(struct ptn_rig *rig)
{
	return ptx_move(rig->buffer.node, rig->buffer.handle,
			P2PBUF_PLACEMENT_SYSTEM, 0);
}

static int unbind(struct ptn_rig *rig)
{
	return ptn_unbind(rig->node, rig->id);
}

static struct ptn_io read_io(const struct ptn_rig *rig, __u32 len, __u32 flags)
{
	return (struct ptn_io){
		.op = PTN_READ, .id = rig->id, .dev = PTN_READ_AREA,
		.len = len, .flags = flags,
	};
}

/*
 * Ours, and then somebody's callback: it comes before ours, and sleeps. Ends
 * with the submitter sleeping in it.
 */
static int submit_before_callback(BATCH *self, struct submitter *submitter,
				  const struct ptn_io *io)
{
	struct io_uring_sqe *sqe;
	struct ptn_io each = *io;
	int i, ret;

	ret = ptm_plug(self->mock, false);
	if (ret < 0)
		return ret;
	for (i = 0; i < OURS; i++) {
		each.buf = i * io->len;
		sqe = ptn_sqe(submitter->ring);
		ptn_prep(sqe, self->rig.node, &each);
		sqe->user_data = 1 + i;
	}
	sqe = ptn_sqe(submitter->ring);
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, self->mock, NULL, 0, 0);
	sqe->cmd_op = P2PBUF_MOCK_URING_PLUG;
	sqe->user_data = 0;
	ret = pthread_create(&submitter->thread, NULL, submit_run, submitter);
	if (ret)
		return -ret;
	return ptk_until(ptm_plug(self->mock, false) == 1, 10000) ? 0 : -ETIME;
}

static void submitter_end(struct __test_metadata *_metadata, BATCH *self,
			  struct submitter *submitter, const struct ptn_io *io)
{
	__u64 number;
	int i, res;

	EXPECT_EQ(1, ptm_plug(self->mock, true));
	EXPECT_EQ(0, pthread_join(submitter->thread, NULL));
	EXPECT_LT(0, submitter->ret);
	for (i = 0; i <= OURS; i++) {
		res = ptn_wait(submitter->ring, &number);
		EXPECT_EQ(number ? (int)io->len : 0, res)
			TH_LOG("%llu", number);
	}
	for (i = 0; i < OURS; i++)
		EXPECT_EQ(io->len, ptn_check(self->rig.buffer.map +
					     i * io->len, io->len, 1, io->dev));
}

static void behind_a_callback(struct __test_metadata *_metadata, BATCH *self,
			      struct ptn_io io,
			      int (*deed)(struct ptn_rig *rig))
{
	struct submitter submitter = { .ring = &self->rig.ring };
	struct ender ender = { .rig = &self->rig, .deed = deed };

	ASSERT_EQ(0, submit_before_callback(self, &submitter, &io));
	ASSERT_EQ(0, pthread_create(&ender.thread, NULL, end_run, &ender));
	EXPECT_TRUE(ptk_until(ender.over, 10000));
	submitter_end(_metadata, self, &submitter, &io);
	ASSERT_EQ(0, pthread_join(ender.thread, NULL));
	EXPECT_EQ(0, ender.ret);
}

TEST_F_TIMEOUT(batch, move_behind_a_callback, 60)
{
	behind_a_callback(_metadata, self,
			  read_io(&self->rig, variant->len, variant->flags),
			  move_out);
}

TEST_F_TIMEOUT(batch, unbind_behind_a_callback, 60)
{
	behind_a_callback(_metadata, self,
			  read_io(&self->rig, variant->len, variant->flags),
			  unbind);
}

/* Last in the batch: all others come to their drivers first. */
TEST_F_TIMEOUT(batch, behind_one_who_sleeps, 60)
{
	struct ptn_rig *rig = &self->rig;
	struct submitter submitter = { .ring = &rig->ring };
	struct ender mover = { .rig = rig, .deed = move_out };
	struct ptn_io io = read_io(rig, variant->len, variant->flags);
	struct io_uring_sqe *sqe;
	__u64 number;
	int i, res;

	for (i = 1; i <= OTHERS; i++) {
		sqe = ptn_sqe(&rig->ring);
		io_uring_prep_write(sqe, self->nbd.fd, rig->scratch, OTHER,
				    (__u64)i * OTHER);
		sqe->user_data = i;
	}
	ptn_prep(ptn_sqe(&rig->ring), rig->node, &io);
	ASSERT_EQ(0, pthread_create(&submitter.thread, NULL, submit_run,
				    &submitter));
	/* The submitter sleeps in nbd's driver now. */
	usleep(300000);
	EXPECT_EQ(0, self->nbd.bytes);
	ASSERT_EQ(0, pthread_create(&mover.thread, NULL, end_run, &mover));
	EXPECT_TRUE(ptk_until(mover.over, 10000));
	self->nbd.serve = 1;
	ASSERT_EQ(0, pthread_join(mover.thread, NULL));
	EXPECT_EQ(0, mover.ret);
	ASSERT_EQ(0, pthread_join(submitter.thread, NULL));
	EXPECT_LT(0, submitter.ret);
	for (i = 0; i <= OTHERS; i++) {
		res = ptn_wait(&rig->ring, &number);
		EXPECT_EQ(number ? OTHER : (int)io.len, res)
			TH_LOG("%llu", number);
	}
	EXPECT_EQ(io.len, ptn_check(rig->buffer.map, io.len, 1, io.dev));
}

TEST_HARNESS_MAIN
