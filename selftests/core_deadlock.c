// SPDX-License-Identifier: GPL-2.0
/*
 * Deadlocks, played through.
 *
 * Exporters that hold the reservation lock while they wait for importers'
 * fences, and whose own fences need that lock to signal: what amdgpu's KFD
 * does when it evicts and restores, and what stopped an earlier NVMe importer.
 * Then the reverse, and everything at once. Every wait of the mock has an end;
 * a deadlock shows as ETIME, and as I/O that makes no progress.
 */
#include <linux/dma-buf.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_core.h"

/* What one step of a hold may take before it is called a deadlock. */
#define STEP_MS		PTM_LONG_MS

FIXTURE(deadlock) { struct ptc c; };
FIXTURE_VARIANT(deadlock) { __u32 placement; };
FIXTURE_VARIANT_ADD(deadlock, pages) { .placement = P2PBUF_MOCK_PAGES, };
FIXTURE_VARIANT_ADD(deadlock, bar) { .placement = P2PBUF_MOCK_BAR, };

FIXTURE_SETUP(deadlock)
{
	ptc_begin(_metadata, &self->c, variant->placement);
}

FIXTURE_TEARDOWN(deadlock)
{
	ptc_end(_metadata, &self->c);
}

#define PUT_IRQ(us) ptm_put(self->c.mock, self->c.imp, P2PBUF_MOCK_HARDIRQ, us)

/* ---- I/O that never rests ----------------------------------------------------- */

/**
 * struct load - a thread that does I/O, each to a word of its own
 * @c: with which importer
 * @imp: likewise
 * @first: its first word
 * @words: how many, then it starts again
 * @stop: asked to stop
 * @issued: I/O so far
 * @error: of the first that failed
 */
struct load {
	struct ptc *c;
	int imp;
	__u32 first;
	__u32 words;
	int stop;
	__u64 issued;
	int error;
	pthread_t thread;
};

static __u64 load_value(const struct load *l, __u64 n)
{
	return (__u64)l->first << 48 | (n + 1);
}

/* No word may be written twice at a time: the order of two is not defined. */
static int load_wrap(struct load *l)
{
	return ptm_until(!ptm_import_info(l->c->mock, l->imp).active) ? 0 :
								       -ETIME;
}

static void *load_run(void *arg)
{
	struct load *l = arg;
	int ret = 0;

	while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE) && !ret) {
		__u64 word = l->first + l->issued % l->words;

		if (l->issued && l->issued % l->words == 0)
			ret = load_wrap(l);
		if (!ret)
			ret = ptm_io(l->c->mock, l->imp, word * 8,
				     load_value(l, l->issued),
				     l->issued % 7 * 100);
		if (!ret)
			__atomic_add_fetch(&l->issued, 1, __ATOMIC_RELEASE);
	}
	l->error = ret;
	return NULL;
}

static void load_start(struct load *l, struct ptc *c, int imp, __u32 first,
		       __u32 words)
{
	*l = (struct load){ .c = c, .imp = imp, .first = first,
			    .words = words };
	if (pthread_create(&l->thread, NULL, load_run, l))
		abort();
}

static __u64 load_issued(struct load *l)
{
	return __atomic_load_n(&l->issued, __ATOMIC_ACQUIRE);
}

/* It gets on: some I/O more. */
static bool load_advances(struct load *l)
{
	__u64 before = load_issued(l);

	return ptm_until(load_issued(l) > before + 3);
}

/* 0 when every word is what was written last. */
static int load_finish(struct load *l)
{
	__u64 first, i;

	__atomic_store_n(&l->stop, 1, __ATOMIC_RELEASE);
	pthread_join(l->thread, NULL);
	if (l->error)
		return l->error;
	if (!ptm_until(!ptm_import_info(l->c->mock, l->imp).active))
		return -ETIME;
	first = l->issued > l->words ? l->issued - l->words : 0;
	for (i = first; i < l->issued; i++)
		if (ptm_word(l->c->mock, l->c->buf,
			     (l->first + i % l->words) * 8) != load_value(l, i))
			return -EILSEQ;
	return 0;
}

/* ---- the published one ----------------------------------------------------------- */

/* Evicted while a transfer runs, the resv held throughout. */
TEST_F(deadlock, evict_waits_with_the_resv)
{
	int hold, i;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, MAP());
		ASSERT_EQ(0, GET());
		hold = ptm_hold(self->c.mock, self->c.buf,
				P2PBUF_MOCK_HOLD_WAIT, STEP_MS);
		ASSERT_LT(0, hold);
		ASSERT_EQ(0, ptm_hold_wait(self->c.mock, hold,
					   P2PBUF_MOCK_HOLD_HELD, STEP_MS));
		ASSERT_EQ(0, PUT_IRQ(i * 1000));
		ASSERT_EQ(0, ptm_hold_wait(self->c.mock, hold,
					   P2PBUF_MOCK_HOLD_DONE,
					   2 * STEP_MS));
	}
}

/* Evicted, and restored only after a fence that mapping has to wait for. */
TEST_F(deadlock, restore_needs_the_resv)
{
	struct ptm_job map;
	int hold;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	hold = ptm_hold(self->c.mock, self->c.buf, P2PBUF_MOCK_HOLD_KFD,
			STEP_MS);
	ASSERT_LT(0, hold);
	ASSERT_EQ(0, ptm_hold_wait(self->c.mock, hold, P2PBUF_MOCK_HOLD_HELD,
				   STEP_MS));
	/* The mapper comes while the resv is held and the transfer runs. */
	ptm_start_call(&map, self->c.mock, P2PBUF_MOCK_MAP, self->c.imp);
	ASSERT_EQ(0, PUT_IRQ(50000));
	ASSERT_EQ(0, ptm_hold_wait(self->c.mock, hold, P2PBUF_MOCK_HOLD_FENCED,
				   2 * STEP_MS));
	/* It waits for the fence, and must do so without the resv. */
	EXPECT_TRUE(ptm_blocked(&map));
	EXPECT_EQ(1, BUFFER().kernel_fences);
	EXPECT_EQ(1, BUFFER().maps);
	ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_RELEASE, hold));
	ASSERT_EQ(0, ptm_hold_wait(self->c.mock, hold, P2PBUF_MOCK_HOLD_DONE,
				   2 * STEP_MS));
	ASSERT_EQ(0, ptm_finish(&map));
	EXPECT_EQ(0, GET());
	EXPECT_EQ(0, PUT_IRQ(0));
}

/* Again and again under load. */
TEST_F_TIMEOUT(deadlock, evict_and_restore_under_load, 60)
{
	struct load load;
	int hold, i;

	load_start(&load, &self->c, self->c.imp, 0, 1024);
	for (i = 0; i < 30; i++) {
		EXPECT_TRUE(load_advances(&load));
		hold = ptm_hold(self->c.mock, self->c.buf,
				P2PBUF_MOCK_HOLD_KFD, STEP_MS);
		ASSERT_LT(0, hold);
		ASSERT_EQ(0, ptm_hold_wait(self->c.mock, hold,
					   P2PBUF_MOCK_HOLD_FENCED, STEP_MS));
		ptm_sleep_ms(i % 3 * 5);
		ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_RELEASE, hold));
		ASSERT_EQ(0, ptm_hold_wait(self->c.mock, hold,
					   P2PBUF_MOCK_HOLD_DONE, 2 * STEP_MS));
		ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLOSE, hold));
	}
	EXPECT_TRUE(load_advances(&load));
	EXPECT_EQ(0, load_finish(&load));
}

/* ---- the reverse -------------------------------------------------------------------- */

/* The exporter's fence waits for ours, and mapping waits for the exporter's. */
TEST_F(deadlock, fence_behind_our_fence)
{
	struct ptm_job map;
	int hold;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	hold = ptm_hold(self->c.mock, self->c.buf, P2PBUF_MOCK_HOLD_CHAIN,
			STEP_MS);
	ASSERT_LT(0, hold);
	ASSERT_EQ(0, ptm_hold_wait(self->c.mock, hold, P2PBUF_MOCK_HOLD_FENCED,
				   STEP_MS));
	ptm_start_call(&map, self->c.mock, P2PBUF_MOCK_MAP, self->c.imp);
	EXPECT_TRUE(ptm_blocked(&map));
	EXPECT_EQ(1, BUFFER().kernel_fences);
	ASSERT_EQ(0, PUT_IRQ(0));
	EXPECT_EQ(0, ptm_hold_wait(self->c.mock, hold, P2PBUF_MOCK_HOLD_DONE,
				   2 * STEP_MS));
	EXPECT_EQ(0, ptm_finish(&map));
}

/* A fence that needs the resv, and a neighbour that sits on the resv. */
TEST_F(deadlock, neighbour_holds_the_resv)
{
	struct ptm_job map;
	int hold, fence;

	fence = ptm_fence(self->c.mock, self->c.buf, P2PBUF_MOCK_KERNEL, 0,
			  P2PBUF_MOCK_NEEDS_RESV);
	ASSERT_LT(0, fence);
	ptm_start_call(&map, self->c.mock, P2PBUF_MOCK_MAP, self->c.imp);
	hold = ptm_hold(self->c.mock, self->c.buf, P2PBUF_MOCK_HOLD_PLAIN,
			STEP_MS);
	ASSERT_LT(0, hold);
	ASSERT_EQ(0, ptm_hold_wait(self->c.mock, hold, P2PBUF_MOCK_HOLD_HELD,
				   STEP_MS));
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_SIGNAL, fence));
	EXPECT_TRUE(ptm_blocked(&map));
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_RELEASE, hold));
	EXPECT_EQ(0, ptm_finish(&map));
}

/* Every map brings a fence that needs the resv; in the end there is one less. */
TEST_F(deadlock, every_map_brings_a_fence)
{
	ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf, P2PBUF_MOCK_OP_MAP,
			      P2PBUF_MOCK_FENCE_RESV, 5, 0, 20));
	EXPECT_EQ(0, MAP());
	EXPECT_EQ(21, BUFFER().maps);
	EXPECT_EQ(1, BUFFER().live);
}

/* ---- slow and sleepy exporters --------------------------------------------------------- */

/* Revoking waits for a map that hangs in the exporter, and then gets through. */
TEST_F(deadlock, revoke_while_the_exporter_maps)
{
	struct ptm_job map, revoke;

	ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf, P2PBUF_MOCK_OP_MAP,
			      P2PBUF_MOCK_STALL, STEP_MS, 0, 1));
	ptm_start_call(&map, self->c.mock, P2PBUF_MOCK_MAP, self->c.imp);
	ASSERT_TRUE(ptm_until(BUFFER().locked));
	ptm_start_call(&revoke, self->c.mock, P2PBUF_MOCK_DETACH, self->c.imp);
	EXPECT_TRUE(ptm_blocked(&revoke));
	EXPECT_FALSE(ptm_done(&map));
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLEAR_RULES,
			      self->c.buf));
	EXPECT_EQ(0, ptm_finish(&map));
	EXPECT_EQ(0, ptm_finish(&revoke));
	EXPECT_EQ(0, BUFFER().live);
	EXPECT_EQ(1, BUFFER().detaches);
}

/* The next mapping waits for a slow unmap, the exporter does not. */
TEST_F(deadlock, slow_unmap)
{
	struct p2pbuf_mock_move arg;
	struct ptm_job map;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf, P2PBUF_MOCK_OP_UNMAP,
			      P2PBUF_MOCK_STALL, STEP_MS, 0, 1));
	arg = ptm_move_arg(self->c.buf, self->c.placement, 0);
	arg.unmap_ms = 0;
	ASSERT_EQ(0, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
	EXPECT_EQ(1, arg.stale);
	ptm_start_call(&map, self->c.mock, P2PBUF_MOCK_MAP, self->c.imp);
	EXPECT_TRUE(ptm_blocked(&map));
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLEAR_RULES,
			      self->c.buf));
	EXPECT_EQ(0, ptm_finish(&map));
	EXPECT_EQ(0, BUFFER().stale);
}

/**
 * struct caller - somebody who calls the exporter
 * @imp: an importer
 * @import: to become one
 * @sync: the CPU
 * @job: the call
 */
struct caller {
	int imp;
	struct p2pbuf_mock_import import;
	struct dma_buf_sync sync;
	struct ptm_job job;
};

static struct p2pbuf_mock_import neighbour_arg(struct ptc *c, __u32 unmap_ms)
{
	return (struct p2pbuf_mock_import){
		.fd = c->buf,
		.kind = P2PBUF_MOCK_NOTIFIED,
		.device = pci_id(c->dev.name),
		.flags = P2PBUF_MOCK_P2P,
		.unmap_ms = unmap_ms,
	};
}

/* Up to the call that is to be made. */
static int caller_prepare(struct caller *who, struct ptc *c, __u32 op)
{
	who->import = neighbour_arg(c, 0);
	who->sync.flags = DMA_BUF_SYNC_RW |
		(op == P2PBUF_MOCK_OP_END_CPU ? DMA_BUF_SYNC_END :
						DMA_BUF_SYNC_START);
	who->imp = ptm_import(c->mock, c->buf, P2PBUF_MOCK_NOTIFIED,
			      c->dev.name, P2PBUF_MOCK_P2P);
	if (who->imp < 0 || op != P2PBUF_MOCK_OP_UNMAP)
		return who->imp < 0 ? who->imp : 0;
	return ptm_call(c->mock, P2PBUF_MOCK_MAP, who->imp);
}

static void caller_start(struct caller *who, struct ptc *c, __u32 op)
{
	static const unsigned long calls[P2PBUF_MOCK_OPS] = {
		[P2PBUF_MOCK_OP_DETACH] = P2PBUF_MOCK_CLOSE,
		[P2PBUF_MOCK_OP_PIN] = P2PBUF_MOCK_PIN,
		[P2PBUF_MOCK_OP_MAP] = P2PBUF_MOCK_MAP,
		[P2PBUF_MOCK_OP_UNMAP] = P2PBUF_MOCK_UNMAP,
	};

	if (calls[op])
		ptm_start_call(&who->job, c->mock, calls[op], who->imp);
	else if (op == P2PBUF_MOCK_OP_ATTACH)
		ptm_start(&who->job, c->mock, P2PBUF_MOCK_IMPORT, &who->import);
	else
		ptm_start(&who->job, c->buf, DMA_BUF_IOCTL_SYNC, &who->sync);
}

/* Each call into the exporter hangs; only the caller does, too. */
TEST_F_TIMEOUT(deadlock, stall_at_every_call, 60)
{
	struct caller who;
	struct load load;
	__u32 op;

	load_start(&load, &self->c, self->c.imp, 0, 512);
	for (op = 0; op < P2PBUF_MOCK_OPS; op++) {
		ASSERT_EQ(0, caller_prepare(&who, &self->c, op));
		/* It is mapped from here on, and needs nobody. */
		EXPECT_TRUE(load_advances(&load));
		/* For longer than anybody below waits for the load. */
		ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf, op,
				      P2PBUF_MOCK_STALL, 3 * STEP_MS, 0, 1));
		caller_start(&who, &self->c, op);
		EXPECT_TRUE(ptm_blocked(&who.job))
			TH_LOG("call %u", op);
		EXPECT_TRUE(load_advances(&load));
		ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLEAR_RULES,
				      self->c.buf));
		EXPECT_EQ(0, ptm_finish(&who.job));
		if (op == P2PBUF_MOCK_OP_PIN)
			ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_UNPIN,
					      who.imp));
		EXPECT_EQ(0, ptm_move(self->c.mock, self->c.buf,
				      self->c.placement, 0));
		if (op != P2PBUF_MOCK_OP_DETACH)
			ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLOSE,
					      who.imp));
	}
	EXPECT_EQ(0, load_finish(&load));
	EXPECT_EQ(1, BUFFER().pins);
	/* That was the neighbour's, and the teardown looks for ours. */
	close(self->c.buf);
	self->c.buf = ptm_create(self->c.mock, PTC_SIZE, P2PBUF_MOCK_PAGES, 0);
}

/* ---- bad neighbours --------------------------------------------------------------------- */

/* One that never unmaps holds up nobody but itself. */
TEST_F(deadlock, neighbour_never_unmaps)
{
	struct p2pbuf_mock_move arg;
	struct load load;
	int lazy, i;

	lazy = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_NOTIFIED,
			  self->c.dev.name, P2PBUF_MOCK_P2P | P2PBUF_MOCK_LAZY);
	ASSERT_LT(0, lazy);
	load_start(&load, &self->c, self->c.imp, 0, 512);
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_MAP, lazy));
		EXPECT_TRUE(load_advances(&load));
		arg = ptm_move_arg(self->c.buf, self->c.placement, 0);
		arg.unmap_ms = 100;
		ASSERT_EQ(0, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
		EXPECT_EQ(1, arg.stale);
		EXPECT_TRUE(load_advances(&load));
	}
	EXPECT_EQ(5, ptm_import_info(self->c.mock, lazy).invalidations);
	EXPECT_EQ(0, load_finish(&load));
}

/* One that takes its time to unmap: the buffer has moved, I/O goes on. */
TEST_F_TIMEOUT(deadlock, neighbour_unmaps_late, 60)
{
	struct p2pbuf_mock_import late;
	struct p2pbuf_mock_move arg;
	struct load load;
	bool seen = false;
	__u32 ms;

	load_start(&load, &self->c, self->c.imp, 0, 512);
	/* On a busy machine it may be over before anybody can look. */
	for (ms = 500; ms <= 8000 && !seen; ms *= 4) {
		late = neighbour_arg(&self->c, ms);
		ASSERT_EQ(0, ptm_ioctl(self->c.mock, P2PBUF_MOCK_IMPORT,
				       &late));
		ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_MAP, late.id));
		arg = ptm_move_arg(self->c.buf, self->c.placement, 0);
		arg.unmap_ms = 0;
		ASSERT_EQ(0, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
		/* That of the load is another one by now. */
		EXPECT_TRUE(load_advances(&load));
		seen = BUFFER().stale == 1;
		/* Who waits for all unmaps waits for this one. */
		EXPECT_EQ(0, ptm_move(self->c.mock, self->c.buf,
				      self->c.placement, 0));
		EXPECT_EQ(0, BUFFER().stale);
		EXPECT_EQ(0, ptm_import_info(self->c.mock, late.id).mapped);
		EXPECT_TRUE(load_advances(&load));
		ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLOSE,
				      late.id));
	}
	EXPECT_TRUE(seen);
	EXPECT_EQ(0, load_finish(&load));
}

/* Whoever is mapped to the old place stays there: -EBUSY is a pin's alone. */
static int move_away(struct ptc *c, __u32 flags)
{
	struct p2pbuf_mock_move arg = ptm_move_arg(c->buf, c->placement, flags);

	arg.unmap_ms = 0;
	return ptm_ioctl(c->mock, P2PBUF_MOCK_MOVE, &arg);
}

/* One that is not dynamic and so pins: nothing moves while it is mapped. */
TEST_F(deadlock, neighbour_is_not_dynamic)
{
	struct load load;
	unsigned int i;
	int imp;

	imp = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_PINNED,
			 self->c.dev.name, 0);
	ASSERT_LT(0, imp);
	load_start(&load, &self->c, self->c.imp, 0, 512);
	for (i = 0; i < 5; i++) {
		int ret = ptm_call(self->c.mock, P2PBUF_MOCK_MAP, imp);

		/* What is not dynamic gets no peer to peer addresses. */
		EXPECT_EQ(self->c.placement == P2PBUF_MOCK_BAR ? -EOPNOTSUPP :
			  0, ret);
		EXPECT_TRUE(load_advances(&load));
		EXPECT_EQ(ret ? 0 : -EBUSY, move_away(&self->c, 0));
		EXPECT_EQ(ret ? 0 : -EBUSY,
			  move_away(&self->c, P2PBUF_MOCK_PIPELINED));
		EXPECT_TRUE(load_advances(&load));
		EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_UNMAP, imp));
		EXPECT_EQ(0, ptm_move(self->c.mock, self->c.buf,
				      self->c.placement, 0));
		EXPECT_TRUE(load_advances(&load));
	}
	ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLOSE, imp));
	EXPECT_EQ(0, load_finish(&load));
	EXPECT_EQ(1, BUFFER().static_attaches);
	EXPECT_EQ(5, BUFFER().pins);
	EXPECT_EQ(5, BUFFER().unpins);
	EXPECT_EQ(0, BUFFER().late_words);
	close(self->c.buf);
	self->c.buf = ptm_create(self->c.mock, PTC_SIZE, P2PBUF_MOCK_PAGES, 0);
}

/* One that is deaf keeps its mapping; the buffer moves all the same. */
TEST_F(deadlock, neighbour_is_deaf)
{
	struct p2pbuf_mock_move arg;
	int deaf;

	deaf = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_DEAF,
			  self->c.dev.name, P2PBUF_MOCK_P2P);
	ASSERT_LT(0, deaf);
	ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_MAP, deaf));
	ASSERT_EQ(0, MAP());
	arg = ptm_move_arg(self->c.buf, self->c.placement, 0);
	arg.unmap_ms = 100;
	EXPECT_EQ(0, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
	EXPECT_EQ(1, arg.stale);
	EXPECT_EQ(0, ptm_io(self->c.mock, self->c.imp, 0, 5, 0));
	EXPECT_TRUE(ptm_until(IMPORTER().io_done == 1));
	EXPECT_EQ(5, ptm_word(self->c.mock, self->c.buf, 0));
	ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLOSE, deaf));
	ASSERT_EQ(1, BUFFER().deaf_attaches);
	/* That was the neighbour's, and the teardown looks for ours. */
	close(self->c.buf);
	self->c.buf = ptm_create(self->c.mock, PTC_SIZE, P2PBUF_MOCK_PAGES, 0);
}

/* One that pins: I/O goes on, nothing moves; unpinned, all is as before. */
TEST_F(deadlock, neighbour_pins)
{
	int pinner;

	pinner = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_NOTIFIED,
			    self->c.dev.name, P2PBUF_MOCK_P2P);
	ASSERT_LT(0, pinner);
	ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_PIN, pinner));
	ASSERT_EQ(0, MAP());
	EXPECT_EQ(-EBUSY, ptm_move(self->c.mock, self->c.buf,
				   self->c.placement, 0));
	EXPECT_EQ(1, IMPORTER().mapped);
	ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_UNPIN, pinner));
	EXPECT_EQ(0, ptm_move(self->c.mock, self->c.buf, self->c.placement, 0));
	EXPECT_EQ(0, MAP());
	EXPECT_EQ(1, BUFFER().pins);
	close(self->c.buf);
	self->c.buf = ptm_create(self->c.mock, PTC_SIZE, P2PBUF_MOCK_PAGES, 0);
}

/* One whose fence does not come: the exporter gives up, nobody else is hurt. */
TEST_F(deadlock, neighbour_keeps_its_fence)
{
	struct p2pbuf_mock_move arg;
	struct load load;
	int fence, i;

	fence = ptm_fence(self->c.mock, self->c.buf, P2PBUF_MOCK_BOOKKEEP, 0,
			  0);
	ASSERT_LT(0, fence);
	load_start(&load, &self->c, self->c.imp, 0, 512);
	for (i = 0; i < 5; i++) {
		EXPECT_TRUE(load_advances(&load));
		arg = ptm_move_arg(self->c.buf, self->c.placement, 0);
		arg.wait_ms = 50;
		EXPECT_EQ(-ETIME, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE,
					    &arg));
		EXPECT_TRUE(load_advances(&load));
	}
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_SIGNAL, fence));
	EXPECT_EQ(0, ptm_move(self->c.mock, self->c.buf, self->c.placement, 0));
	EXPECT_EQ(0, load_finish(&load));
}

/* ---- everything at once ------------------------------------------------------------------- */

#define LOADS	3

/* One thing that exporters do; returns 0 or what went wrong. */
static int trouble(struct ptc *c, unsigned int what)
{
	static const __u32 moves[] = {
		0, P2PBUF_MOCK_RESERVE_FIRST, P2PBUF_MOCK_PIPELINED,
	};
	static const __u32 holds[] = {
		P2PBUF_MOCK_HOLD_PLAIN, P2PBUF_MOCK_HOLD_WAIT,
		P2PBUF_MOCK_HOLD_KFD, P2PBUF_MOCK_HOLD_CHAIN,
	};
	int id, ret;

	switch (what % 10) {
	case 0: case 1: case 2:
		return ptm_move(c->mock, c->buf, c->placement, moves[what % 10]);
	case 3: case 4: case 5: case 6:
		id = ptm_hold(c->mock, c->buf, holds[what % 10 - 3], STEP_MS);
		if (id < 0)
			return id;
		ret = ptm_call(c->mock, P2PBUF_MOCK_RELEASE, id);
		if (!ret)
			ret = ptm_hold_wait(c->mock, id, P2PBUF_MOCK_HOLD_DONE,
					    2 * STEP_MS);
		ptm_call(c->mock, P2PBUF_MOCK_CLOSE, id);
		return ret;
	case 7:
		id = ptm_fence(c->mock, c->buf, P2PBUF_MOCK_KERNEL, 3,
			       P2PBUF_MOCK_NEEDS_RESV);
		return id < 0 ? id : 0;
	case 8:
		return ptm_rule(c->mock, c->buf, P2PBUF_MOCK_OP_MAP,
				P2PBUF_MOCK_FENCE_RESV, 2, 0, 1);
	default:
		return ptm_call(c->mock, P2PBUF_MOCK_REMAP, c->imp);
	}
}

/**
 * struct trouble_thread - a thread that makes trouble
 * @c: for whom
 * @stop: asked to stop
 * @seed: what in which order
 * @error: what went wrong first
 */
struct trouble_thread {
	struct ptc *c;
	int stop;
	unsigned int seed;
	int error;
	pthread_t thread;
};

/* What it looked like when something went wrong. */
static void tell(struct ptc *c, unsigned int what, int error)
{
	struct p2pbuf_mock_buffer_info b = ptm_info(c->mock, c->buf);

	printf("# trouble %u: %s; live %u, stale %u, fences %u, kernel fences %u, locked %u\n",
	       what, strerror(-error), b.live, b.stale, b.fences,
	       b.kernel_fences, b.locked);
}

static void *trouble_run(void *arg)
{
	struct trouble_thread *t = arg;

	while (!__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE) && !t->error) {
		unsigned int what = rand_r(&t->seed);

		t->error = trouble(t->c, what);
		if (t->error)
			tell(t->c, what % 10, t->error);
	}
	return NULL;
}

TEST_F_TIMEOUT(deadlock, everything_at_once, 60)
{
	struct trouble_thread troubles[2];
	struct load loads[LOADS];
	int i, round;

	for (i = 0; i < LOADS; i++) {
		int imp = i ? ptm_import(self->c.mock, self->c.buf,
					 P2PBUF_MOCK_CORE, self->c.dev.name, 0) :
			      self->c.imp;

		ASSERT_LT(0, imp);
		load_start(&loads[i], &self->c, imp, i * 2048, 2048);
	}
	for (i = 0; i < 2; i++) {
		troubles[i] = (struct trouble_thread){
			.c = &self->c, .seed = ptk_seed() + i,
		};
		ASSERT_EQ(0, pthread_create(&troubles[i].thread, NULL,
					    trouble_run, &troubles[i]));
	}
	for (round = 0; round < 20; round++) {
		for (i = 0; i < LOADS; i++)
			EXPECT_TRUE(load_advances(&loads[i]));
		ptm_sleep_ms(100);
	}
	for (i = 0; i < 2; i++) {
		__atomic_store_n(&troubles[i].stop, 1, __ATOMIC_RELEASE);
		pthread_join(troubles[i].thread, NULL);
		EXPECT_EQ(0, troubles[i].error);
	}
	for (i = 0; i < LOADS; i++) {
		printf("# load %d: %llu I/Os\n", i, loads[i].issued);
		EXPECT_EQ(0, load_finish(&loads[i]));
	}
}

TEST_HARNESS_MAIN
