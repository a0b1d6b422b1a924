// SPDX-License-Identifier: GPL-2.0
/*
 * The importer contract, invariant by invariant, step by step.
 *
 * An importer through p2pbuf_core is driven by hand against the mock exporter:
 * references are taken and kept, the exporter moves and revokes meanwhile. The
 * numbers are those of Documentation/design.rst. 7 and 9 need a real device
 * or a special machine and are in core_nvme.c and core_table.c.
 */
#include "kselftest_harness.h"
#include "p2pbuf_test_core.h"
#include "p2pbuf_test_trace.h"

/* What exporters return when a signal interrupts them; no errno of libc. */
#define ERESTARTSYS	512

/* Of every kind; those that a signal brings are another matter. */
static const int errors[] = {
	EPERM, ENOENT, EIO, ENXIO, EAGAIN, ENOMEM, EACCES, EFAULT, EBUSY,
	EEXIST, ENODEV, EINVAL, EMFILE, ENOSPC, EPIPE, ERANGE, EDEADLK, ETIME,
	EOVERFLOW, EOPNOTSUPP, ENOBUFS, ETIMEDOUT, EINPROGRESS, ESTALE,
	EREMOTEIO, ECANCELED, 4095,
};

#define ERRORS	(sizeof(errors) / sizeof(errors[0]))

FIXTURE(contract) { struct ptc c; };
FIXTURE_VARIANT(contract) { __u32 placement; };
FIXTURE_VARIANT_ADD(contract, pages) { .placement = P2PBUF_MOCK_PAGES, };
FIXTURE_VARIANT_ADD(contract, bar) { .placement = P2PBUF_MOCK_BAR, };

FIXTURE_SETUP(contract)
{
	ptc_begin(_metadata, &self->c, variant->placement);
}

FIXTURE_TEARDOWN(contract)
{
	ptc_end(_metadata, &self->c);
}

#define PUT()	 ptm_put(self->c.mock, self->c.imp, P2PBUF_MOCK_TASK, 0)
#define PUT_IRQ() ptm_put(self->c.mock, self->c.imp, P2PBUF_MOCK_HARDIRQ, 0)
#define MOVE()	 ptm_move(self->c.mock, self->c.buf, self->c.placement, 0)

static struct p2pbuf_mock_move move_arg(struct ptc *c, __u32 wait_ms)
{
	struct p2pbuf_mock_move arg = ptm_move_arg(c->buf, c->placement, 0);

	arg.wait_ms = wait_ms;
	return arg;
}

/* 1: dynamic attachment only; never pins. */
TEST_F(contract, dynamic_and_never_pins)
{
	struct p2pbuf_mock_buffer_info info;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, MOVE());
	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_REMAP, self->c.imp));
	info = BUFFER();
	EXPECT_EQ(1, info.attaches);
	EXPECT_EQ(0, info.static_attaches);
	EXPECT_EQ(0, info.deaf_attaches);
	EXPECT_EQ(0, info.pins);
	EXPECT_EQ(3, info.maps);
}

/* 2: the reference is what keeps addresses alive. */
TEST_F(contract, move_waits_for_the_reference)
{
	struct p2pbuf_mock_move arg = move_arg(&self->c, PTM_LONG_MS);
	struct ptm_job move;

	EXPECT_EQ(-ENXIO, GET());
	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	ASSERT_EQ(0, GET());
	ptm_start(&move, self->c.mock, P2PBUF_MOCK_MOVE, &arg);
	EXPECT_TRUE(ptm_blocked(&move));
	/* Nobody gets at the old addresses any more ... */
	EXPECT_EQ(-ENXIO, GET());
	/* ... and one reference is as good as two. */
	EXPECT_EQ(0, PUT());
	EXPECT_TRUE(ptm_blocked(&move));
	EXPECT_EQ(0, PUT_IRQ());
	ASSERT_EQ(0, ptm_finish(&move));
	EXPECT_EQ(0, arg.stale);
	EXPECT_EQ(2, BUFFER().generation);
	EXPECT_EQ(-ENXIO, GET());
}

/* 2: what the device writes meanwhile arrives, and nowhere else. */
TEST_F(contract, io_across_moves)
{
	unsigned int i;

	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, ptm_io(self->c.mock, self->c.imp, 8 * i, i + 1,
				    i % 5 * 1000));
		ASSERT_EQ(0, MOVE());
		EXPECT_EQ(i + 1, IMPORTER().io_done);
		EXPECT_EQ(i + 1, ptm_word(self->c.mock, self->c.buf, 8 * i));
	}
	EXPECT_EQ(50, BUFFER().maps);
}

/* 3: invalidate publishes a fence and does not wait. */
TEST_F(contract, invalidate_leaves_a_fence)
{
	struct p2pbuf_mock_move arg = move_arg(&self->c, 1);

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	EXPECT_EQ(0, BUFFER().fences);
	EXPECT_EQ(-ETIME, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
	/* For those who wait for everything, not for those who map. */
	EXPECT_EQ(1, BUFFER().fences);
	EXPECT_EQ(0, BUFFER().kernel_fences);
	EXPECT_EQ(1, BUFFER().live);
	EXPECT_EQ(1, BUFFER().generation);
	EXPECT_EQ(0, IMPORTER().inline_waits);
	EXPECT_EQ(1, IMPORTER().core_invalidations);
	/* The second time there is nothing to tell. */
	EXPECT_EQ(-ETIME, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
	EXPECT_EQ(1, BUFFER().fences);
	EXPECT_EQ(1, IMPORTER().core_invalidations);
	EXPECT_EQ(0, PUT_IRQ());
	EXPECT_TRUE(ptm_until(!BUFFER().fences && !BUFFER().live));
}

/* 3: an idle mapping costs the exporter nothing. */
TEST_F(contract, invalidate_idle)
{
	struct p2pbuf_mock_move arg = move_arg(&self->c, 1);

	ASSERT_EQ(0, MAP());
	EXPECT_EQ(0, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
	EXPECT_EQ(0, arg.stale);
	EXPECT_EQ(0, BUFFER().fences);
	/* Nothing is mapped: nothing to do. */
	EXPECT_EQ(0, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
	EXPECT_EQ(1, IMPORTER().core_invalidations);
}

/*
 * 3: the exporter moves while the importer itself has ended the mapping, but
 * not its I/O. The fence must be there as well.
 */
TEST_F(contract, move_while_remapping)
{
	struct p2pbuf_mock_move arg = move_arg(&self->c, 300);
	struct ptm_job remap;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	ptm_start_call(&remap, self->c.mock, P2PBUF_MOCK_REMAP, self->c.imp);
	ASSERT_TRUE(ptm_until(!IMPORTER().mapped));
	EXPECT_EQ(-ETIME, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
	EXPECT_EQ(1, BUFFER().generation);
	EXPECT_FALSE(ptm_done(&remap));
	EXPECT_EQ(0, PUT_IRQ());
	EXPECT_EQ(0, ptm_finish(&remap));
}

TEST_F(contract, move_while_revoking)
{
	struct p2pbuf_mock_move arg = move_arg(&self->c, 300);
	struct ptm_job revoke;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	ptm_start_call(&revoke, self->c.mock, P2PBUF_MOCK_DETACH, self->c.imp);
	ASSERT_TRUE(ptm_until(!IMPORTER().mapped));
	EXPECT_EQ(-ETIME, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
	EXPECT_EQ(1, BUFFER().generation);
	EXPECT_FALSE(ptm_done(&revoke));
	EXPECT_EQ(0, IMPORTER().revoked);
	EXPECT_EQ(0, PUT_IRQ());
	EXPECT_EQ(0, ptm_finish(&revoke));
	EXPECT_EQ(1, IMPORTER().revoked);
	EXPECT_EQ(-ENODEV, GET());
	EXPECT_EQ(-ENODEV, MAP());
}

/* A fresh buffer whose list of fences has @others in it; then move it. */
static int move_behind_fences(struct ptc *c, unsigned int others, __u32 flags)
{
	struct ptc fresh = *c;
	unsigned int i;
	int ret;

	fresh.buf = ptm_create(c->mock, PTM_PAGE, c->placement, 0);
	if (fresh.buf < 0)
		return fresh.buf;
	fresh.imp = ptm_import(c->mock, fresh.buf, P2PBUF_MOCK_CORE,
			       c->dev.name, 0);
	ret = fresh.imp < 0 ? fresh.imp : 0;
	for (i = 0; i < others && !ret; i++)
		ret = ptm_fence(c->mock, fresh.buf, P2PBUF_MOCK_BOOKKEEP, 0,
				P2PBUF_MOCK_BACKGROUND) < 0 ? -EIO : 0;
	if (!ret)
		ret = ptm_io(c->mock, fresh.imp, 0, 1, 2000);
	if (!ret)
		ret = ptm_move(c->mock, fresh.buf, c->placement, flags);
	if (!ret && ptm_info(c->mock, fresh.buf).late_words)
		ret = -EILSEQ;
	close(fresh.buf);
	return ret;
}

/*
 * 3: the slot for the fence is one of its own. An exporter that reserved its
 * slot before it told us (TTM does) finds it still free; else the kernel dies
 * of a BUG() when the exporter adds its fence. Other people's fences fill the
 * list up to any level first.
 */
TEST_F(contract, slot_of_the_exporter)
{
	unsigned int others;

	for (others = 0; others < 20; others++) {
		ASSERT_EQ(0, move_behind_fences(&self->c, others,
						P2PBUF_MOCK_RESERVE_FIRST));
		ASSERT_EQ(0, move_behind_fences(&self->c, others,
						P2PBUF_MOCK_PIPELINED));
	}
}

/* 3, 6: a move that goes on after the exporter let go of the resv. */
TEST_F(contract, pipelined_moves)
{
	unsigned int i;

	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, ptm_io(self->c.mock, self->c.imp, 8 * i, i + 1,
				    i % 3 * 1000));
		ASSERT_EQ(0, ptm_move(self->c.mock, self->c.buf,
				      self->c.placement,
				      P2PBUF_MOCK_PIPELINED));
		EXPECT_EQ(i + 1, ptm_word(self->c.mock, self->c.buf, 8 * i));
	}
}

/* 4: the signal needs neither the resv nor anybody who could take it. */
TEST_F(contract, signal_while_the_resv_is_held)
{
	int hold;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	hold = ptm_hold(self->c.mock, self->c.buf, P2PBUF_MOCK_HOLD_WAIT,
			PTM_LONG_MS);
	ASSERT_LT(0, hold);
	ASSERT_EQ(0, ptm_hold_wait(self->c.mock, hold, P2PBUF_MOCK_HOLD_HELD,
				   PTM_LONG_MS));
	EXPECT_EQ(1, BUFFER().locked);
	EXPECT_EQ(0, PUT_IRQ());
	EXPECT_EQ(0, ptm_hold_wait(self->c.mock, hold, P2PBUF_MOCK_HOLD_DONE,
				   2 * PTM_LONG_MS));
	EXPECT_TRUE(ptm_until(!BUFFER().live));
}

/* 4: nor does user space have to run. */
TEST_F(contract, signal_while_the_process_is_stopped)
{
	pid_t child;
	int status;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		ptm_put(self->c.mock, self->c.imp, P2PBUF_MOCK_HARDIRQ, 200000);
		raise(SIGSTOP);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	EXPECT_TRUE(WIFSTOPPED(status));
	EXPECT_EQ(0, MOVE());
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
}

#define FLUSH	"p2pbuf_mapping_flush"
#define SIGNAL	"dma_fence/dma_fence_signaled"

/*
 * Fences of mappings that signalled, each behind a read that brings in what was
 * posted; or how many of them did so without one, negative.
 */
static int fences_behind_a_flush(void)
{
	bool flushed = false;
	int good = 0, bad = 0;
	FILE *f = ptt_open();
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (strstr(line, ": " FLUSH ": ")) {
			flushed = true;
		} else if (strstr(line, ": dma_fence_signaled: driver=p2pbuf ")) {
			good += flushed;
			bad += !flushed;
			flushed = false;
		}
	}
	if (f)
		fclose(f);
	return bad ? -bad : good;
}

/*
 * 4: what is on its way to the BAR arrives before the fence signals. No bus here
 * keeps writes back, so this looks at what is called instead.
 */
TEST_F(contract, posted_writes_arrive_first)
{
	unsigned int i;

	if (self->c.placement != P2PBUF_MOCK_BAR)
		SKIP(return, "nothing is posted to host memory");
	if (access(PTT_TRACING "kprobe_events", W_OK))
		SKIP(return, "this kernel has no kprobes");
	ASSERT_EQ(0, ptt_probe(FLUSH));
	EXPECT_EQ(0, ptt_event("ptt/" FLUSH, true));
	EXPECT_EQ(0, ptt_event(SIGNAL, true));
	ptt_clear();
	for (i = 0; i < 10; i++) {
		EXPECT_EQ(0, MAP());
		EXPECT_EQ(0, GET());
		EXPECT_EQ(0, i % 2 ? PUT() : PUT_IRQ());
		EXPECT_EQ(0, MOVE());
	}
	EXPECT_EQ(0, ptt_event(SIGNAL, false));
	EXPECT_EQ(0, ptt_event("ptt/" FLUSH, false));
	EXPECT_EQ(10, fences_behind_a_flush());
	EXPECT_EQ(0, ptt_unprobe(FLUSH));
}

/* 5: unmapping follows by itself. */
TEST_F(contract, unmap_follows)
{
	struct p2pbuf_mock_move arg = move_arg(&self->c, PTM_LONG_MS);
	unsigned int i;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, MAP());
		EXPECT_EQ(1, BUFFER().live);
		arg = move_arg(&self->c, PTM_LONG_MS);
		ASSERT_EQ(0, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
		EXPECT_EQ(0, arg.stale);
		EXPECT_EQ(0, BUFFER().live);
		EXPECT_EQ(i + 1, BUFFER().unmaps);
	}
}

/* 5: ... after the fence, not before. */
TEST_F(contract, no_unmap_before_the_fence)
{
	struct p2pbuf_mock_move arg = move_arg(&self->c, 1);

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	EXPECT_EQ(-ETIME, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
	ptm_sleep_ms(PTM_SHORT_MS);
	EXPECT_EQ(0, BUFFER().unmaps);
	EXPECT_EQ(1, BUFFER().live);
	EXPECT_EQ(0, PUT_IRQ());
	EXPECT_TRUE(ptm_until(BUFFER().unmaps == 1));
}

/* 5: tables are not rewritten while I/O reads them. */
TEST_F(contract, no_fill_while_active)
{
	struct ptm_job map;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	ptm_start_call(&map, self->c.mock, P2PBUF_MOCK_REMAP, self->c.imp);
	EXPECT_TRUE(ptm_blocked(&map));
	EXPECT_EQ(1, IMPORTER().fills);
	EXPECT_EQ(0, PUT());
	EXPECT_EQ(0, ptm_finish(&map));
	EXPECT_EQ(2, IMPORTER().fills);
	EXPECT_EQ(0, GET());
	EXPECT_EQ(0, PUT());
}

/* 5: the same after the exporter's invalidation. */
TEST_F(contract, no_new_mapping_while_the_old_one_is_used)
{
	struct p2pbuf_mock_move arg = move_arg(&self->c, 1);
	struct ptm_job map;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	EXPECT_EQ(-ETIME, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
	ptm_start_call(&map, self->c.mock, P2PBUF_MOCK_MAP, self->c.imp);
	EXPECT_TRUE(ptm_blocked(&map));
	EXPECT_EQ(1, BUFFER().maps);
	/* Waiting, it does not keep the exporter from its buffer. */
	EXPECT_EQ(0, BUFFER().locked);
	EXPECT_EQ(0, PUT_IRQ());
	EXPECT_EQ(0, ptm_finish(&map));
	EXPECT_EQ(2, BUFFER().maps);
}

/* 6: mapping waits for KERNEL fences, and without the resv. */
TEST_F(contract, map_waits_for_kernel_fences)
{
	struct ptm_job map;
	unsigned int i, flags;

	for (flags = 0; flags <= P2PBUF_MOCK_NEEDS_RESV; flags++) {
		int fence = ptm_fence(self->c.mock, self->c.buf,
				      P2PBUF_MOCK_KERNEL, 0, flags);

		ASSERT_LT(0, fence);
		ptm_start_call(&map, self->c.mock, P2PBUF_MOCK_REMAP,
			       self->c.imp);
		for (i = 0; i < PTM_SHORT_MS; i++) {
			EXPECT_EQ(0, BUFFER().locked);
			ptm_sleep_ms(1);
		}
		EXPECT_FALSE(ptm_done(&map));
		EXPECT_EQ(flags, BUFFER().maps);
		EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_SIGNAL, fence));
		EXPECT_EQ(0, ptm_finish(&map));
		EXPECT_EQ(flags + 1, BUFFER().maps);
	}
}

/* 6: other fences are nobody's business who maps. */
TEST_F(contract, map_does_not_wait_for_other_fences)
{
	unsigned int usage;

	for (usage = P2PBUF_MOCK_WRITE; usage <= P2PBUF_MOCK_BOOKKEEP; usage++)
		ASSERT_LT(0, ptm_fence(self->c.mock, self->c.buf, usage, 0, 0));
	EXPECT_EQ(0, MAP());
	EXPECT_EQ(0, GET());
	EXPECT_EQ(0, PUT());
}

/* 6: a fence that mapping itself brought about is waited for too. */
TEST_F(contract, fence_from_inside_map)
{
	unsigned int action, ms;
	__u64 maps, fills;

	for (action = P2PBUF_MOCK_FENCE; action <= P2PBUF_MOCK_FENCE_RESV;
	     action++) {
		ms = 50;
		/* On a busy machine it may be over before anybody can look. */
		do {
			maps = BUFFER().maps;
			fills = IMPORTER().fills;
			ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf,
					      P2PBUF_MOCK_OP_MAP, action, ms,
					      0, 1));
			EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_REMAP,
					      self->c.imp));
			EXPECT_EQ(0, BUFFER().kernel_fences);
			ms *= 4;
		} while (BUFFER().maps == maps + 1 && ms < 5000);
		/* What was mapped too early was given back. */
		EXPECT_EQ(maps + 2, BUFFER().maps);
		EXPECT_EQ(1, BUFFER().live);
		EXPECT_EQ(fills + 1, IMPORTER().fills);
	}
}

/* 3, 6: the exporter moves from inside our own map. */
TEST_F(contract, move_from_inside_map)
{
	int other;

	if (self->c.placement == P2PBUF_MOCK_BAR)
		SKIP(return, "it moves to system pages");
	other = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_CORE, NULL,
			   0);
	ASSERT_LT(0, other);
	ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_MAP, other));
	ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf, P2PBUF_MOCK_OP_MAP,
			      P2PBUF_MOCK_RELOCATE, 1000, 0, 1));
	EXPECT_EQ(0, MAP());
	EXPECT_EQ(2, BUFFER().generation);
	EXPECT_EQ(0, ptm_import_info(self->c.mock, other).mapped);
	EXPECT_TRUE(ptm_until(BUFFER().live == 1));
	EXPECT_EQ(0, ptm_io(self->c.mock, self->c.imp, 0, 7, 0));
	EXPECT_TRUE(ptm_until(IMPORTER().io_done == 1));
	EXPECT_EQ(7, ptm_word(self->c.mock, self->c.buf, 0));
}

/* Generations: one more for each mapping that was judged, and in the verdict. */
TEST_F(contract, generations)
{
	struct p2pbuf_mock_import_info info = IMPORTER();
	unsigned int i;

	EXPECT_EQ(P2PBUF_PATH_NONE, info.path.path);
	EXPECT_EQ(0, info.path.generation);
	for (i = 1; i <= 5; i++) {
		ASSERT_EQ(0, MAP());
		/* Mapped is mapped. */
		ASSERT_EQ(0, MAP());
		info = IMPORTER();
		EXPECT_EQ(i, info.path.generation);
		EXPECT_EQ(i, info.mappings);
		EXPECT_EQ(i, info.fills);
		EXPECT_EQ(PTC_SIZE, info.fill_bytes);
		EXPECT_EQ(self->c.placement == P2PBUF_MOCK_PAGES,
			  info.path.path == P2PBUF_PATH_SYSTEM);
		ASSERT_EQ(0, MOVE());
	}
	EXPECT_EQ(5, IMPORTER().core_invalidations);
	EXPECT_EQ(5, BUFFER().unmaps);
}

/*
 * An error of the exporter or the importer leaves everything as it was. The
 * exporter's EAGAIN would be taken for the kernel's.
 */
TEST_F(contract, errors_of_map)
{
	struct p2pbuf_mock_import_info info;
	unsigned int i;

	for (i = 0; i < ERRORS; i++) {
		ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf,
				      P2PBUF_MOCK_OP_MAP, P2PBUF_MOCK_FAIL,
				      errors[i], 0, 1));
		EXPECT_EQ(errors[i] == EAGAIN ? -EBUSY : -errors[i], MAP());
		info = IMPORTER();
		EXPECT_EQ(P2PBUF_PATH_REFUSED, info.path.path);
		EXPECT_EQ(P2PBUF_REASON_EXPORTER, info.path.reason);
		EXPECT_EQ(-ENXIO, GET());

		ASSERT_EQ(0, ptm_fill_rule(self->c.mock, self->c.imp,
					   errors[i], 1, 0));
		EXPECT_EQ(-errors[i], MAP());
		EXPECT_EQ(0, BUFFER().live);
		EXPECT_EQ(-ENXIO, GET());

		EXPECT_EQ(0, MAP());
		ASSERT_EQ(0, MOVE());
	}
	/* NULL is out of memory. */
	ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf, P2PBUF_MOCK_OP_MAP,
			      P2PBUF_MOCK_FAIL, 0, 0, 1));
	EXPECT_EQ(-ENOMEM, MAP());
	EXPECT_EQ(0, MAP());
}

/* An exporter that gave up for a signal we do not have is asked again. */
TEST_F(contract, exporter_is_interrupted)
{
	ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf, P2PBUF_MOCK_OP_MAP,
			      P2PBUF_MOCK_FAIL, EINTR, 0, 2));
	ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf, P2PBUF_MOCK_OP_MAP,
			      P2PBUF_MOCK_FAIL, ERESTARTSYS, 0, 2));
	EXPECT_EQ(0, MAP());
	EXPECT_EQ(4, BUFFER().map_failures);
	EXPECT_EQ(1, BUFFER().maps);
}

TEST_F(contract, errors_of_attach)
{
	unsigned int i;
	int imp;

	for (i = 0; i < ERRORS; i++) {
		ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf,
				      P2PBUF_MOCK_OP_ATTACH, P2PBUF_MOCK_FAIL,
				      errors[i], 0, 1));
		EXPECT_EQ(-errors[i], ptm_import(self->c.mock, self->c.buf,
						 P2PBUF_MOCK_CORE,
						 self->c.dev.name, 0));
	}
	EXPECT_EQ(1, BUFFER().attaches);
	EXPECT_EQ(0, BUFFER().detaches);
	imp = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_CORE,
			 self->c.dev.name, 0);
	ASSERT_LT(0, imp);
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_MAP, imp));
	EXPECT_EQ(0, MAP());
}

/* A neighbour's pin that fails is the neighbour's: we map, the buffer moves. */
TEST_F(contract, errors_of_a_neighbours_pin)
{
	unsigned int i;
	int pinner;

	pinner = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_NOTIFIED,
			    self->c.dev.name, P2PBUF_MOCK_P2P);
	ASSERT_LT(0, pinner);
	for (i = 0; i < ERRORS; i++) {
		ASSERT_EQ(0, MAP());
		ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf,
				      P2PBUF_MOCK_OP_PIN, P2PBUF_MOCK_FAIL,
				      errors[i], 0, 1));
		EXPECT_EQ(-errors[i], ptm_call(self->c.mock, P2PBUF_MOCK_PIN,
					       pinner));
		EXPECT_EQ(0, BUFFER().pins);
		EXPECT_EQ(1, IMPORTER().mapped);
		EXPECT_EQ(0, MOVE());
	}
	EXPECT_EQ(ERRORS, IMPORTER().core_invalidations);
}

/* Remapping that fails leaves no mapping, and mapping helps. */
TEST_F(contract, errors_of_remap)
{
	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf, P2PBUF_MOCK_OP_MAP,
			      P2PBUF_MOCK_FAIL, ENOMEM, 0, 1));
	EXPECT_EQ(-ENOMEM, ptm_call(self->c.mock, P2PBUF_MOCK_REMAP,
				    self->c.imp));
	EXPECT_EQ(-ENXIO, GET());
	EXPECT_EQ(0, BUFFER().live);
	EXPECT_EQ(0, MAP());
	EXPECT_EQ(0, GET());
	EXPECT_EQ(0, PUT());
}

/* Revoked by the exporter before, inside of, and after a map; and for ever. */
TEST_F(contract, exporter_revokes)
{
	ASSERT_EQ(0, ptm_revoke(self->c.mock, self->c.buf, ENODEV));
	EXPECT_EQ(-ENODEV, MAP());
	ASSERT_EQ(0, ptm_revoke(self->c.mock, self->c.buf, 0));
	EXPECT_EQ(0, MAP());

	ASSERT_EQ(0, ptm_revoke(self->c.mock, self->c.buf, EPERM));
	EXPECT_EQ(-ENXIO, GET());
	EXPECT_EQ(0, BUFFER().live);
	EXPECT_EQ(-EPERM, MAP());
	EXPECT_EQ(-EPERM, ptm_io(self->c.mock, self->c.imp, 0, 1, 0));
	ASSERT_EQ(0, ptm_revoke(self->c.mock, self->c.buf, 0));

	ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf, P2PBUF_MOCK_OP_MAP,
			      P2PBUF_MOCK_TAKE_BACK, 0, 0, 1));
	EXPECT_EQ(-ENODEV, MAP());
	EXPECT_EQ(-ENODEV, MAP());
	EXPECT_EQ(0, BUFFER().live);
	/* It is the buffer that is gone, not the attachment. */
	EXPECT_EQ(0, IMPORTER().dead);
	EXPECT_EQ(0, IMPORTER().revoked);
}

/* Somebody else calls the exporter, which takes the buffer back meanwhile. */
static int call_exporter(struct ptc *c, __u32 op)
{
	int other = ptm_import(c->mock, c->buf, P2PBUF_MOCK_CORE, c->dev.name,
			       0);

	if (other < 0 || op == P2PBUF_MOCK_OP_ATTACH)
		return other < 0 ? other : 0;
	if (op == P2PBUF_MOCK_OP_DETACH)
		return ptm_call(c->mock, P2PBUF_MOCK_DETACH, other);
	/* The second map goes by way of an unmap. */
	ptm_call(c->mock, P2PBUF_MOCK_MAP, other);
	ptm_call(c->mock, P2PBUF_MOCK_REMAP, other);
	return 0;
}

/* At each step of an importer another one has I/O under way, which lands. */
TEST_F(contract, exporter_revokes_at_every_step)
{
	static const __u32 ops[] = {
		P2PBUF_MOCK_OP_ATTACH, P2PBUF_MOCK_OP_MAP,
		P2PBUF_MOCK_OP_UNMAP, P2PBUF_MOCK_OP_DETACH,
	};
	unsigned int i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		ASSERT_EQ(0, ptm_io(self->c.mock, self->c.imp, 8, i + 1, 20000));
		ASSERT_EQ(0, ptm_rule(self->c.mock, self->c.buf, ops[i],
				      P2PBUF_MOCK_TAKE_BACK, 0, 0, 1));
		EXPECT_EQ(0, call_exporter(&self->c, ops[i]));
		EXPECT_EQ(-ENODEV, MAP());
		EXPECT_EQ(-ENODEV, ptm_io(self->c.mock, self->c.imp, 8, 0, 0));
		EXPECT_TRUE(ptm_until(!IMPORTER().active && !BUFFER().live));
		EXPECT_EQ(0, BUFFER().stale);
		EXPECT_EQ(i + 1, ptm_word(self->c.mock, self->c.buf, 8));
		EXPECT_EQ(0, IMPORTER().dead);
		ASSERT_EQ(0, ptm_revoke(self->c.mock, self->c.buf, 0));
	}
}

/* Revoke by the exporter while I/O is active waits for it. */
TEST_F(contract, exporter_revokes_active)
{
	struct p2pbuf_mock_move arg = ptm_move_arg(self->c.buf, 0, 0);
	struct ptm_job revoke;

	arg.err = ENODEV;
	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	ptm_start(&revoke, self->c.mock, P2PBUF_MOCK_REVOKE, &arg);
	EXPECT_TRUE(ptm_blocked(&revoke));
	EXPECT_EQ(0, PUT_IRQ());
	EXPECT_EQ(0, ptm_finish(&revoke));
	EXPECT_EQ(0, arg.stale);
	EXPECT_EQ(-ENODEV, MAP());
}

/* 10: what revoking the attachment means. */
TEST_F(contract, revoke_is_for_ever)
{
	ASSERT_EQ(0, MAP());
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_DETACH, self->c.imp));
	EXPECT_EQ(1, IMPORTER().revoked);
	EXPECT_EQ(1, IMPORTER().dead);
	EXPECT_EQ(1, BUFFER().detaches);
	EXPECT_EQ(0, BUFFER().live);
	EXPECT_EQ(-ENODEV, MAP());
	EXPECT_EQ(-ENODEV, GET());
	EXPECT_EQ(-ENODEV, ptm_call(self->c.mock, P2PBUF_MOCK_REMAP,
				    self->c.imp));
	/* Once is enough. */
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_DETACH, self->c.imp));
	EXPECT_EQ(1, IMPORTER().revoked);
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLOSE, self->c.imp));
	EXPECT_EQ(1, BUFFER().detaches);
	self->c.imp = -1;
}

/* Revoking makes a mapper that waits for a fence give up. */
TEST_F(contract, revoke_while_mapping)
{
	struct ptm_job map;
	int fence;

	fence = ptm_fence(self->c.mock, self->c.buf, P2PBUF_MOCK_KERNEL, 0, 0);
	ASSERT_LT(0, fence);
	ptm_start_call(&map, self->c.mock, P2PBUF_MOCK_MAP, self->c.imp);
	EXPECT_TRUE(ptm_blocked(&map));
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_DETACH, self->c.imp));
	EXPECT_EQ(-ENODEV, ptm_finish(&map));
	EXPECT_EQ(0, BUFFER().maps);
}

/*
 * A second after it was mapped the reference becomes a percpu one. Everything
 * must be as before.
 */
TEST_F(contract, settled_mapping)
{
	struct p2pbuf_mock_move arg = move_arg(&self->c, PTM_LONG_MS);
	struct ptm_job move;

	ASSERT_EQ(0, MAP());
	ptm_sleep_ms(1500);
	ASSERT_EQ(0, GET());
	ptm_start(&move, self->c.mock, P2PBUF_MOCK_MOVE, &arg);
	EXPECT_TRUE(ptm_blocked(&move));
	EXPECT_EQ(-ENXIO, GET());
	EXPECT_EQ(0, PUT_IRQ());
	EXPECT_EQ(0, ptm_finish(&move));
	EXPECT_EQ(0, arg.stale);
	EXPECT_EQ(0, ptm_io(self->c.mock, self->c.imp, 8, 9, 0));
	EXPECT_TRUE(ptm_until(IMPORTER().io_done == 1));
	EXPECT_EQ(9, ptm_word(self->c.mock, self->c.buf, 8));
}

TEST_HARNESS_MAIN
