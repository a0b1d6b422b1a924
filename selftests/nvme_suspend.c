// SPDX-License-Identifier: GPL-2.0
/*
 * The machine sleeps with bindings, and with I/O at every stage: being
 * submitted, in the drive, waiting for a new mapping. The exporter empties
 * VRAM while programs stand still, the drive loses its queues, and afterwards
 * everything goes on as if nothing had been: no command fails, every byte is
 * right, and the buffer is back where it was.
 *
 * I/O goes on while the machine settles after the sleep before, so the next
 * one meets it.
 */
#include <pthread.h>
#include <liburing.h>

#include "p2pbuf_test_load.h"
#include "p2pbuf_test_sleep.h"

#define SIZE		(8 * PTN_MIB)
#define DEPTH		24
#define LEN		65536
#define ROUNDS		4
#define PATIENCE_MS	60000

FIXTURE(suspend) {
	struct ptn_rig rig;
	struct ptn_load load;
	pthread_t thread;
	int stop;
};

FIXTURE_VARIANT(suspend) { enum ptn_kind kind; bool slow; };
FIXTURE_VARIANT_ADD(suspend, vram) { .kind = PTN_VRAM, };
FIXTURE_VARIANT_ADD(suspend, vram_slow) { .kind = PTN_VRAM, .slow = true, };
FIXTURE_VARIANT_ADD(suspend, udmabuf) { .kind = PTN_UDMABUF, };

FIXTURE_SETUP(suspend)
{
	const char *why = ptz_begin();

	if (why)
		SKIP(return, "%s", why);
	PTN_RIG_OPEN(&self->rig, .role = variant->slow ? ptn_slow() : "main",
		     .kind = variant->kind, .size = SIZE,
		     .bind_flags = P2PBUF_NVME_BIND_ALLOW_SYSTEM);
	ASSERT_EQ(0, ptn_load_init(&self->load, &self->rig, DEPTH, LEN,
				   1UL << 40));
	self->load.stop = &self->stop;
}

FIXTURE_TEARDOWN(suspend)
{
	ptz_end();
	ptn_rig_close(&self->rig);
}

/* More commands have ended than @before, or none has for very long. */
static bool goes_on(const struct ptn_load *load, unsigned long before)
{
	const volatile unsigned long *done = &load->done;
	int ms;

	for (ms = 0; ms < PATIENCE_MS && *done <= before; ms += 10)
		usleep(10000);
	return *done > before;
}

/* Where the exporter's objects are, and that they were away. */
static void expect_back(struct __test_metadata *_metadata,
			const struct ptn_rig *rig, __u64 evictions)
{
	struct drm_p2pbuf_gem_info info;

	ASSERT_EQ(0, ptx_info(rig->buffer.node, rig->buffer.handle, &info));
	EXPECT_EQ(P2PBUF_PLACEMENT_VRAM, info.placement);
	EXPECT_EQ(evictions, info.evictions);
}

TEST_F_TIMEOUT(suspend, under_load, 200)
{
	struct p2pbuf_nvme_bind_info info;
	struct ptn_rig *rig = &self->rig;
	unsigned int i;

	ASSERT_EQ(0, pthread_create(&self->thread, NULL, ptn_load_thread,
				    &self->load));
	for (i = 0; i < ROUNDS; i++) {
		EXPECT_TRUE(goes_on(&self->load, self->load.done + DEPTH));
		EXPECT_EQ(0, ptz_settle());
		EXPECT_EQ(0, ptz_sleep());
	}
	EXPECT_TRUE(goes_on(&self->load, self->load.done + DEPTH));
	*(volatile int *)&self->stop = 1;
	ASSERT_EQ(0, pthread_join(self->thread, NULL));
	EXPECT_EQ(0, self->load.failed)
		TH_LOG("first: %s", strerror(-self->load.error));
	EXPECT_EQ(0, self->load.wrong);
	ASSERT_EQ(0, ptn_info(rig->node, rig->id, &info));
	EXPECT_EQ(0, info.errors);
	if (variant->kind != PTN_VRAM)
		return;
	expect_back(_metadata, rig, 2 * ROUNDS);
	/* Out and back in are a new mapping each, if anybody asked for one. */
	EXPECT_LE(ROUNDS, info.invalidations);
}

/* Reads and writes side by side that nobody waits for before the sleep. */
static int push(struct ptn_rig *rig, bool write_it)
{
	unsigned int i;

	for (i = 0; i < DEPTH; i++) {
		struct ptn_io io = {
			.op = write_it ? PTN_WRITE : PTN_READ, .id = rig->id,
			.buf = (i + write_it * DEPTH) * LEN,
			.dev = (write_it ? PTN_WRITE_AREA : PTN_READ_AREA) +
			       i * LEN,
			.len = LEN,
		};

		ptn_prep(ptn_sqe(&rig->ring), rig->node, &io);
	}
	return io_uring_submit(&rig->ring);
}

TEST_F_TIMEOUT(suspend, in_the_drive, 200)
{
	const __u64 half = DEPTH * LEN;
	struct ptn_rig *rig = &self->rig;
	unsigned int i, round;

	for (round = 1; round <= ROUNDS; round++) {
		ptn_poison(rig->buffer.map, half);
		ptn_fill((char *)rig->buffer.map + half, half, round, 0);
		EXPECT_EQ(0, ptz_settle());
		ASSERT_EQ(DEPTH, push(rig, false));
		ASSERT_EQ(DEPTH, push(rig, true));
		if (variant->slow)
			EXPECT_GT(2 * DEPTH, io_uring_cq_ready(&rig->ring));
		EXPECT_EQ(0, ptz_sleep());
		for (i = 0; i < 2 * DEPTH; i++)
			EXPECT_EQ(LEN, ptn_wait(&rig->ring, NULL));
		EXPECT_EQ(half, ptn_check(rig->buffer.map, half, PTN_LOAD_SEED,
					  PTN_READ_AREA));
		ASSERT_EQ(0, ptn_disk_read(&rig->disk, rig->scratch, half,
					   PTN_WRITE_AREA));
		EXPECT_EQ(half, ptn_check(rig->scratch, half, round, 0));
		if (variant->kind == PTN_VRAM)
			expect_back(_metadata, rig, 2 * round);
	}
}

TEST_HARNESS_MAIN
