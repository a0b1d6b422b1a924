// SPDX-License-Identifier: GPL-2.0
/*
 * A device error is seen as an error: at every depth, batched, polled, and in
 * one part of many. The commands around it are as good as ever.
 *
 * The drive fails reads of sector BAD_READ and writes of sector BAD_WRITE; so
 * does every command that covers one of them.
 */
#include <pthread.h>
#include <liburing.h>

#include "p2pbuf_test_load.h"

#define SIZE		(32 * PTN_MIB)
#define BAD_READ	(65536ULL * 512)
#define BAD_WRITE	(98304ULL * 512)
#define DEPTH		128

FIXTURE(error) {
	struct ptn_rig rig;
};

FIXTURE_VARIANT(error) {
	__u32 flags;
};

FIXTURE_VARIANT_ADD(error, plain) {
	.flags = 0,
};

FIXTURE_VARIANT_ADD(error, defer_taskrun) {
	.flags = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER,
};

FIXTURE_VARIANT_ADD(error, sqpoll) {
	.flags = IORING_SETUP_SQPOLL,
};

FIXTURE_VARIANT_ADD(error, iopoll) {
	.flags = IORING_SETUP_IOPOLL,
};

FIXTURE_VARIANT_ADD(error, iopoll_defer) {
	.flags = IORING_SETUP_IOPOLL | IORING_SETUP_DEFER_TASKRUN |
		 IORING_SETUP_SINGLE_ISSUER,
};

/* The pattern everywhere around the bad sectors, but not on BAD_WRITE. */
static int fill(struct ptn_rig *rig)
{
	int ret;

	ret = ptn_disk_fill(&rig->disk, BAD_READ - 4 * PTN_MIB, 8 * PTN_MIB,
			    1, rig->scratch, PTN_SCRATCH);
	if (!ret)
		ret = ptn_disk_fill(&rig->disk, BAD_WRITE - 4 * PTN_MIB,
				    4 * PTN_MIB, 1, rig->scratch, PTN_SCRATCH);
	if (!ret)
		ret = ptn_disk_fill(&rig->disk, BAD_WRITE + 512,
				    4 * PTN_MIB, 1, rig->scratch, PTN_SCRATCH);
	return ret;
}

FIXTURE_SETUP(error)
{
	PTN_RIG_OPEN(&self->rig, .role = "error", .kind = PTN_VRAM,
		     .size = SIZE, .ring_flags = variant->flags,
		     .entries = 2 * DEPTH);
	ASSERT_EQ(0, fill(&self->rig));
	/* The drive does what this test takes it to do. */
	EXPECT_NE(0, ptn_disk_read(&self->rig.disk, self->rig.scratch, 512,
				   BAD_READ));
	EXPECT_NE(0, ptn_disk_write(&self->rig.disk, self->rig.scratch, 512,
				    BAD_WRITE));
}

FIXTURE_TEARDOWN(error)
{
	ptn_rig_close(&self->rig);
}

static bool is_error(int res)
{
	return res == -EIO || res == -ENODATA;
}

static void push(struct ptn_rig *rig, __u32 op, __u64 buf, __u64 dev,
		 __u32 len, __u64 number)
{
	struct io_uring_sqe *sqe = ptn_sqe(&rig->ring);
	struct ptn_io io = {
		.op = op, .id = rig->id, .buf = buf, .dev = dev, .len = len,
	};

	ptn_prep(sqe, rig->node, &io);
	sqe->user_data = number;
}

/*
 * @depth commands of @len beside each other, one of which, @bad, covers the
 * bad sector. All are submitted at once.
 */
static void one_among(struct __test_metadata *_metadata, struct ptn_rig *rig,
		      __u32 op, unsigned int depth, unsigned int bad,
		      __u32 len)
{
	__u64 sector = op == PTN_READ ? BAD_READ : BAD_WRITE;
	__u64 dev = sector - (__u64)bad * len, number;
	char *map = rig->buffer.map;
	unsigned int i;
	int res;

	ptn_poison(map, (__u64)depth * len);
	if (op == PTN_WRITE)
		ptn_fill(map, (__u64)depth * len, 2, dev);
	for (i = 0; i < depth; i++)
		push(rig, op, (__u64)i * len, dev + (__u64)i * len, len, i);
	ASSERT_LE(0, io_uring_submit(&rig->ring));
	for (i = 0; i < depth; i++) {
		res = ptn_wait(&rig->ring, &number);
		EXPECT_TRUE(number == bad ? is_error(res) : res == (int)len)
			TH_LOG("depth %u, bad %u, number %llu: %d", depth, bad,
			       number, res);
	}
	for (i = 0; i < depth; i++) {
		__u64 at = (__u64)i * len;

		if (i == bad)
			continue;
		if (op == PTN_WRITE) {
			ASSERT_EQ(0, ptn_disk_read(&rig->disk, rig->scratch,
						   len, dev + at));
			EXPECT_EQ(len, ptn_check(rig->scratch, len, 2,
						 dev + at));
		} else {
			EXPECT_EQ(len, ptn_check(map + at, len, 1, dev + at));
		}
	}
}

TEST_F_TIMEOUT(error, every_depth, 60)
{
	static const unsigned int depths[] = { 1, 2, 3, 8, 32, 64, 128 };
	struct p2pbuf_nvme_bind_info before, after;
	unsigned int i, errors = 0;

	ASSERT_EQ(0, ptn_info(self->rig.node, self->rig.id, &before));
	for (i = 0; i < ARRAY_SIZE(depths); i++) {
		unsigned int depth = depths[i];

		one_among(_metadata, &self->rig, PTN_READ, depth, 0, 4096);
		one_among(_metadata, &self->rig, PTN_READ, depth, depth / 2,
			  4096);
		one_among(_metadata, &self->rig, PTN_READ, depth, depth - 1,
			  4096);
		one_among(_metadata, &self->rig, PTN_WRITE, depth, 0, 4096);
		one_among(_metadata, &self->rig, PTN_WRITE, depth, depth / 2,
			  4096);
		one_among(_metadata, &self->rig, PTN_WRITE, depth, depth - 1,
			  4096);
		errors += 6;
	}
	ASSERT_EQ(0, ptn_info(self->rig.node, self->rig.id, &after));
	EXPECT_EQ(errors, after.errors - before.errors);
}

/* All of them, so that a batch has nothing but errors. */
TEST_F(error, nothing_but_errors)
{
	struct ptn_rig *rig = &self->rig;
	unsigned int depth, i;

	for (depth = 1; depth <= DEPTH; depth *= 2) {
		for (i = 0; i < depth; i++)
			push(rig, i % 2 ? PTN_READ : PTN_WRITE, i * 4096,
			     i % 2 ? BAD_READ : BAD_WRITE, 512, i);
		ASSERT_LE(0, io_uring_submit(&rig->ring));
		for (i = 0; i < depth; i++)
			EXPECT_TRUE(is_error(ptn_wait(&rig->ring, NULL)));
	}
}

/* Good ones and bad ones by turns, kept in flight. */
TEST_F(error, by_turns)
{
	struct ptn_rig *rig = &self->rig;
	unsigned int i, submitted = 0, in_flight = 0, bad = 0, errors = 0;
	__u64 number;
	int res;

	while (submitted < 600 || in_flight) {
		while (submitted < 600 && in_flight < 48) {
			bool is_bad = submitted % 3 == 0;

			push(rig, PTN_READ, in_flight * 4096,
			     is_bad ? BAD_READ : BAD_READ + 4096, 4096,
			     is_bad);
			bad += is_bad;
			submitted++;
			in_flight++;
		}
		ASSERT_LE(0, io_uring_submit(&rig->ring));
		for (i = 0; i < 7 && in_flight; i++, in_flight--) {
			res = ptn_wait(&rig->ring, &number);
			EXPECT_TRUE(number ? is_error(res) : res == 4096);
			errors += res < 0;
		}
	}
	EXPECT_EQ(200, bad);
	EXPECT_EQ(bad, errors);
}

/* One part of a split command: its first, its last, one in the middle. */
TEST_F(error, one_part_of_many)
{
	struct ptn_rig *rig = &self->rig;
	__u64 part = rig->bind.max_io, len = 4 * part;
	int i, round;

	for (i = 0; i < 4; i++) {
		__u64 dev = BAD_READ - i * part;

		for (round = 0; round < 4; round++)
			EXPECT_TRUE(is_error(ptn_read(&rig->ring, rig->node,
						      rig->id, 0, dev, len)));
		/* up to the bad sector all is well */
		if (i) {
			ptn_poison(rig->buffer.map, len);
			EXPECT_EQ((int)(i * part),
				  ptn_read(&rig->ring, rig->node, rig->id, 0,
					   dev, i * part));
			EXPECT_EQ(i * part, ptn_check(rig->buffer.map,
						      i * part, 1, dev));
		}
		dev = BAD_WRITE - i * part;
		ptn_fill(rig->buffer.map, len, 1, dev);
		EXPECT_TRUE(is_error(ptn_write(&rig->ring, rig->node, rig->id,
					       0, dev, len)));
	}
	/* split commands that fail and split ones that do not, at once */
	ptn_poison(rig->buffer.map, SIZE);
	for (i = 0; i < 4; i++)
		push(rig, PTN_READ, i * 4 * PTN_MIB,
		     i % 2 ? BAD_READ - 2 * PTN_MIB : BAD_READ - 4 * PTN_MIB,
		     4 * PTN_MIB, i);
	ASSERT_LE(0, io_uring_submit(&rig->ring));
	for (i = 0; i < 4; i++) {
		__u64 number;
		int res = ptn_wait(&rig->ring, &number);

		EXPECT_TRUE(number % 2 ? is_error(res) :
			    res == 4 * (int)PTN_MIB);
	}
	for (i = 0; i < 4; i += 2)
		EXPECT_EQ(4 * PTN_MIB,
			  ptn_check((char *)rig->buffer.map +
				    i * 4 * PTN_MIB, 4 * PTN_MIB, 1,
				    BAD_READ - 4 * PTN_MIB));
}

/* After errors the binding is as good as before. */
TEST_F(error, recovers)
{
	static struct ptn_load load;
	struct ptn_rig *rig = &self->rig;
	int i;

	for (i = 0; i < 100; i++)
		EXPECT_TRUE(is_error(ptn_read(&rig->ring, rig->node, rig->id,
					      0, BAD_READ, 512)));
	ASSERT_EQ(0, ptn_load_init(&load, rig, 32, 4096, 500));
	PTN_LOAD_GOOD(&load);
}

/* ---- page cache -------------------------------------------------------------- */

struct reader {
	struct ptn_rig *rig;
	__u64 dev;
	__u64 len;
	volatile int stop;
};

/* Keeps the page cache full of whatever the disk has. */
static void *reader_run(void *arg)
{
	struct reader *r = arg;
	static char buffer[65536];
	__u64 at;

	while (!r->stop)
		for (at = 0; at < r->len; at += sizeof(buffer))
			if (pread(r->rig->disk.fd, buffer, sizeof(buffer),
				  r->dev + at) < 0)
				return (void *)1;
	return NULL;
}

/*
 * A write of which one part failed has changed the disk all the same; who
 * reads through the page cache sees what there is now.
 */
TEST_F_TIMEOUT(error, page_cache_after_failed_write, 60)
{
	struct ptn_rig *rig = &self->rig;
	struct reader reader = {
		.rig = rig, .dev = BAD_WRITE - 3 * PTN_MIB,
		.len = 3 * PTN_MIB,
	};
	char *cached = ptn_memory(reader.len);
	pthread_t thread;
	void *failed;
	int round;

	ASSERT_NE(NULL, cached);
	for (round = 0; round < 20; round++) {
		reader.stop = 0;
		ASSERT_EQ(0, pthread_create(&thread, NULL, reader_run,
					    &reader));
		ptn_fill(rig->buffer.map, 4 * PTN_MIB, 10 + round, reader.dev);
		EXPECT_TRUE(is_error(ptn_write(&rig->ring, rig->node, rig->id,
					       0, reader.dev, 4 * PTN_MIB)));
		reader.stop = 1;
		ASSERT_EQ(0, pthread_join(thread, &failed));
		EXPECT_EQ(NULL, failed);
		ASSERT_EQ(0, ptn_disk_read(&rig->disk, rig->scratch,
					   reader.len, reader.dev));
		ASSERT_EQ((ssize_t)reader.len, pread(rig->disk.fd, cached,
						     reader.len, reader.dev));
		EXPECT_EQ(0, memcmp(cached, rig->scratch, reader.len));
	}
}

TEST_HARNESS_MAIN
