// SPDX-License-Identifier: GPL-2.0
/*
 * Every byte of every shape of RDMA between two imported dma-bufs.
 *
 * Before each request both buffers are prepared: the source has a pattern, the
 * destination is poisoned a page further than the request on both sides.
 * After it the request's bytes are the pattern and all others still poison.
 */
#include <liburing.h>

#include "p2pbuf_test_rig.h"
#include "p2pbuf_test_rdma.h"

/* Segments of 2 MiB: two whole ones and a part. */
#define SEGMENT		(2 * PTD_MIB)
#define BUFFER		(5 * PTD_MIB)
#define GUARD		4096ull

FIXTURE(data) {
	struct ptd_pair pair;
	struct ptn_buffer local;
	struct ptn_buffer remote;
	int local_id;
	int remote_id;
};

FIXTURE_VARIANT(data) {
	enum ptn_kind local;
	enum ptn_kind remote;
};

FIXTURE_VARIANT_ADD(data, udmabuf) {
	.local = PTN_UDMABUF,
	.remote = PTN_UDMABUF,
};

FIXTURE_VARIANT_ADD(data, heap_to_exporter) {
	.local = PTN_HEAP,
	.remote = PTN_VRAM,
};

static int open_buffer(struct ptn_buffer *b, enum ptn_kind kind)
{
	int ret = ptn_buffer_alloc(b, kind, BUFFER);

	return ret == -ENOENT ? -ENODEV : ret;
}

FIXTURE_SETUP(data)
{
	struct p2pbuf_rdma_remote_info info;
	int ret;

	self->pair = (struct ptd_pair){};
	ret = ptd_open();
	if (ret == -ENOENT)
		SKIP(return, "no " PTD_NODE);
	ASSERT_LE(0, ret);
	close(ret);
	ret = open_buffer(&self->local, variant->local);
	if (!ret)
		ret = open_buffer(&self->remote, variant->remote);
	if (ret == -ENODEV)
		SKIP(return, "no such exporter");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, ptd_pair_open(&self->pair));
	self->local_id = ptd_import(self->pair.a.fd, self->local.dmabuf, 0);
	ASSERT_LT(0, self->local_id);
	self->remote_id = ptd_import(self->pair.b.fd, self->remote.dmabuf, 7);
	ASSERT_EQ(7, self->remote_id);
	ASSERT_EQ(0, ptd_grant(self->pair.b.fd, self->remote_id, PTD_BOTH));
	ASSERT_EQ(0, ptd_remote_info(self->pair.a.fd, self->remote_id, PTD_MS,
				     &info));
	ASSERT_EQ(BUFFER, info.length);
	ASSERT_EQ(PTD_BOTH, info.rights);
}

FIXTURE_TEARDOWN(data)
{
	ptd_pair_close(&self->pair);
	ptn_buffer_free(&self->local);
	ptn_buffer_free(&self->remote);
}

/* checkpatch takes a type in a macro for a factor. */
#define DATA_DATA FIXTURE_DATA(data)

static __u64 next_seed = 1;

static bool wrong(const char *what, const struct p2pbuf_rdma_cmd *cmd,
		  __s64 detail)
{
	fprintf(stderr,
		"# %s: local offset %llu, remote offset %llu, length %llu: %lld\n",
		what, cmd->local_offset, cmd->remote_offset, cmd->length,
		detail);
	return false;
}

/* One request; @read: from the remote buffer to the local one. */
static bool transfer(DATA_DATA *self, __u32 op,
		     struct p2pbuf_rdma_cmd *cmd)
{
	bool read = op == P2PBUF_RDMA_URING_READ;
	__u8 *local = (__u8 *)self->local.map + cmd->local_offset;
	__u8 *remote = (__u8 *)self->remote.map + cmd->remote_offset;
	__u8 *from = read ? remote : local, *to = read ? local : remote;
	__u64 offset = read ? cmd->local_offset : cmd->remote_offset;
	__u64 before = PTN_MIN(offset, GUARD);
	__u64 after = PTN_MIN(BUFFER - offset - cmd->length, GUARD);
	__u64 seed = next_seed++, n;
	int ret;

	cmd->local_id = self->local_id;
	cmd->remote_id = self->remote_id;
	ptd_fill(from, cmd->length, seed);
	memset(to - before, PTD_POISON, before + cmd->length + after);
	ret = ptd_io(&self->pair.a.ring, self->pair.a.fd, op, cmd);
	if (ret != (int)cmd->length)
		return wrong("returned", cmd, ret);
	n = ptd_check(to, cmd->length, seed);
	if (n != cmd->length)
		return wrong("wrong byte", cmd, n);
	n = ptd_check_poison(to - before, before);
	if (n != before)
		return wrong("touched before", cmd, n);
	n = ptd_check_poison(to + cmd->length, after);
	if (n != after)
		return wrong("touched after", cmd, n);
	return true;
}

static const struct {
	__u64 local;
	__u64 remote;
	__u64 length;
} shapes[] = {
	{ 0, 0, 1 },
	{ 0, 0, 4096 },
	{ 1, 2, 3 },
	{ 4095, 4093, 4097 },
	{ 8192, 0, 65536 },
	{ 12345, 54321, 100001 },
	{ SEGMENT - 1, 0, 2 },			/* across the local segments */
	{ 0, SEGMENT - 1, 2 },			/* across the remote ones */
	{ SEGMENT - 5, SEGMENT - 3, 70000 },	/* across both, elsewhere */
	{ 0, 3 * PTD_MIB, 2 * PTD_MIB },
	{ BUFFER - 1, BUFFER - 1, 1 },
	{ 0, 0, BUFFER },
};

#define ALL_SHAPES(i)	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)

TEST_F_TIMEOUT(data, write, 120)
{
	size_t i;

	ALL_SHAPES(i) {
		struct p2pbuf_rdma_cmd cmd = {
			.local_offset = shapes[i].local,
			.remote_offset = shapes[i].remote,
			.length = shapes[i].length,
		};

		ASSERT_TRUE(transfer(self, P2PBUF_RDMA_URING_WRITE, &cmd));
	}
}

TEST_F_TIMEOUT(data, read, 120)
{
	size_t i;

	ALL_SHAPES(i) {
		struct p2pbuf_rdma_cmd cmd = {
			.local_offset = shapes[i].local,
			.remote_offset = shapes[i].remote,
			.length = shapes[i].length,
			.flags = i % 2 ? P2PBUF_RDMA_FLUSH : 0,
		};

		ASSERT_TRUE(transfer(self, P2PBUF_RDMA_URING_READ, &cmd));
	}
}

/* The @i-th @bytes, to their own place; with immediate data unless it is 0. */
static void prep_write(DATA_DATA *self, int i, __u64 bytes, __u32 imm)
{
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = self->local_id,
		.remote_id = self->remote_id,
		.local_offset = i * bytes,
		.remote_offset = i * bytes,
		.length = bytes,
		.imm = imm,
	};

	ptd_prep(&self->pair.a.ring, self->pair.a.fd,
		 imm ? P2PBUF_RDMA_URING_WRITE_IMM : P2PBUF_RDMA_URING_WRITE,
		 &cmd, i);
}

/* Three times what the peer has room for, and it takes its time. */
TEST_F_TIMEOUT(data, immediate, 120)
{
	enum { COUNT = 100, BYTES = 1000 };
	const struct p2pbuf_rdma_cmd none = {};
	struct ptd_end *a = &self->pair.a, *b = &self->pair.b;
	__u8 *from = self->local.map, *to = self->remote.map;
	int i;

	ptd_fill(from, COUNT * BYTES, 99);
	memset(to, PTD_POISON, COUNT * BYTES + GUARD);
	for (i = 0; i < COUNT; i++)
		prep_write(self, i, BYTES, 0x7fffffff - i);
	ASSERT_LE(0, io_uring_submit(&a->ring));
	for (i = 0; i < COUNT; i++) {
		ASSERT_EQ(0x7fffffff - i,
			  ptd_io(&b->ring, b->fd, P2PBUF_RDMA_URING_RECV,
				 &none));
		/* What was written before it has arrived. */
		ASSERT_EQ((i + 1) * BYTES, ptd_check(to, (i + 1) * BYTES, 99));
	}
	for (i = 0; i < COUNT; i++)
		ASSERT_EQ(BYTES, ptd_wait(&a->ring, NULL));
	ASSERT_EQ(COUNT * BYTES, ptd_check(to, COUNT * BYTES, 99));
	ASSERT_EQ(GUARD, ptd_check_poison(to + COUNT * BYTES, GUARD));
}

/*
 * One more than the peer has room for, which has taken half of them, one by
 * one: that is enough to be told of.
 */
TEST_F_TIMEOUT(data, immediate_in_part, 120)
{
	enum { COUNT = 33, TAKEN = 20, BYTES = 1000 };
	const struct p2pbuf_rdma_cmd none = {};
	struct ptd_end *a = &self->pair.a, *b = &self->pair.b;
	int i;

	for (i = 0; i < COUNT; i++)
		prep_write(self, i, BYTES, i + 1);
	ASSERT_EQ(COUNT, io_uring_submit(&a->ring));
	/* All that may come have come: none of them is waited for. */
	for (i = 0; i < COUNT - 1; i++)
		ASSERT_EQ(BYTES, ptd_wait(&a->ring, NULL));
	for (i = 0; i < TAKEN; i++)
		ASSERT_EQ(i + 1, ptd_io(&b->ring, b->fd,
					P2PBUF_RDMA_URING_RECV, &none));
	EXPECT_EQ(BYTES, ptd_wait(&a->ring, NULL));
}

TEST_F(data, flush)
{
	struct p2pbuf_rdma_cmd cmd = { .length = 10000 };
	const struct p2pbuf_rdma_cmd flush = {
		.remote_id = self->remote_id,
		.remote_offset = BUFFER - 1,
	};

	ASSERT_TRUE(transfer(self, P2PBUF_RDMA_URING_WRITE, &cmd));
	ASSERT_EQ(0, ptd_io(&self->pair.a.ring, self->pair.a.fd,
			    P2PBUF_RDMA_URING_FLUSH, &flush));
}

/* More at once than the send queue takes, in both directions. */
TEST_F_TIMEOUT(data, deep, 120)
{
	enum { COUNT = 400, BYTES = 6000 };
	struct ptd_end *a = &self->pair.a;
	__u8 *from = self->local.map, *to = self->remote.map;
	int i;

	ptd_fill(from, COUNT * BYTES, 5);
	memset(to, PTD_POISON, COUNT * BYTES + GUARD);
	for (i = 0; i < COUNT; i++)
		prep_write(self, i, BYTES, 0);
	ASSERT_LE(0, io_uring_submit(&a->ring));
	for (i = 0; i < COUNT; i++)
		ASSERT_EQ(BYTES, ptd_wait(&a->ring, NULL));
	ASSERT_EQ(COUNT * BYTES, ptd_check(to, COUNT * BYTES, 5));
	ASSERT_EQ(GUARD, ptd_check_poison(to + COUNT * BYTES, GUARD));
}

/* Requests wait for a grant that has not come yet. */
TEST_F(data, before_the_grant)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = self->local_id, .remote_id = 9, .length = 4096,
	};
	struct ptd_end *a = &self->pair.a;
	struct p2pbuf_rdma_info info;

	ptd_fill(self->local.map, 4096, 3);
	memset(self->remote.map, PTD_POISON, 8192);
	ptd_prep(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE, &cmd, 0);
	ASSERT_EQ(1, io_uring_submit(&a->ring));
	ASSERT_EQ(0, ptd_info(a->fd, &info));
	ASSERT_EQ(1, info.parked);
	ASSERT_EQ(9, ptd_import(self->pair.b.fd, self->remote.dmabuf, 9));
	ASSERT_EQ(0, ptd_grant(self->pair.b.fd, 9, P2PBUF_RDMA_RIGHT_WRITE));
	ASSERT_EQ(4096, ptd_wait(&a->ring, NULL));
	ASSERT_EQ(4096, ptd_check(self->remote.map, 4096, 3));
	ASSERT_EQ(4096, ptd_check_poison((__u8 *)self->remote.map + 4096,
					 4096));
}

int main(int argc, char **argv)
{
	return ptd_main(argc, argv);
}
