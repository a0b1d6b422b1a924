// SPDX-License-Identifier: GPL-2.0
/*
 * Discipline of the commands on /dev/p2pbuf-nvme: each refusal with its own
 * errno, and neither buffer nor disk changed by what was refused.
 */
#include <liburing.h>

#include "p2pbuf_test_rig.h"

#define SIZE		(4 * PTN_MIB)
#define DEV		(8 * PTN_MIB)

FIXTURE(commands) {
	struct ptn_rig rig;
	struct ptn_io io;
};

FIXTURE_SETUP(commands)
{
	PTN_RIG_OPEN(&self->rig,
		     .kind = ptn_topology("swiotlb") ? PTN_VRAM : PTN_HEAP,
		     .size = SIZE,
		     .bind_flags = P2PBUF_NVME_BIND_ALLOW_SYSTEM);
	self->io = (struct ptn_io){
		.op = PTN_READ, .id = self->rig.id, .dev = DEV, .len = 4096,
	};
	ASSERT_EQ(0, ptn_disk_fill(&self->rig.disk, DEV, SIZE, 1,
				   self->rig.scratch, PTN_SCRATCH));
	ptn_poison(self->rig.buffer.map, SIZE);
}

/* Nothing that was refused touched the buffer or the disk. */
FIXTURE_TEARDOWN(commands)
{
	struct ptn_rig *rig = &self->rig;

	if (rig->id > 0) {
		EXPECT_EQ(SIZE, ptn_check_poison(rig->buffer.map, SIZE));
		EXPECT_EQ(0, ptn_disk_read(&rig->disk, rig->scratch, SIZE,
					   DEV));
		EXPECT_EQ(SIZE, ptn_check(rig->scratch, SIZE, 1, DEV));
	}
	ptn_rig_close(rig);
}

/* Both directions; the same errno for both or @write for writes. */
static int both(struct ptn_rig *rig, struct ptn_io io)
{
	int read, write;

	io.op = PTN_READ;
	read = ptn_io(&rig->ring, rig->node, &io);
	io.op = PTN_WRITE;
	write = ptn_io(&rig->ring, rig->node, &io);
	return read == write ? read : -EXFULL;
}

static int with(struct ptn_rig *rig, struct ptn_io io, __u64 buf, __u64 dev,
		__u32 len)
{
	io.buf = buf;
	io.dev = dev;
	io.len = len;
	return both(rig, io);
}

TEST_F(commands, unknown_operation)
{
	static const __u32 ops[] = {
		0, 1, 0x80, 0x81, ~0U, P2PBUF_NVME_BIND,
		_IO(P2PBUF_NVME_IOC_MAGIC, 0x7f),
		_IO(P2PBUF_NVME_IOC_MAGIC, 0x82),
		_IOWR(P2PBUF_NVME_IOC_MAGIC, 0x80, __u64),
		_IO(P2PBUF_NVME_IOC_MAGIC + 1, 0x80),
	};
	struct ptn_io io = self->io;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		io.op = ops[i];
		EXPECT_EQ(-EINVAL, ptn_io(&self->rig.ring, self->rig.node,
					  &io));
	}
}

TEST_F(commands, unknown_flags)
{
	struct ptn_io io = self->io;
	int i;

	for (i = 2; i < 32; i++) {
		io.flags = 1U << i;
		EXPECT_EQ(-EINVAL, both(&self->rig, io));
	}
	io.op = PTN_READ;
	io.flags = P2PBUF_NVME_FUA;
	EXPECT_EQ(-EINVAL, ptn_io(&self->rig.ring, self->rig.node, &io));
	io.op = PTN_WRITE;
	io.flags = P2PBUF_NVME_FLUSH;
	EXPECT_EQ(-EINVAL, ptn_io(&self->rig.ring, self->rig.node, &io));
	io.flags = P2PBUF_NVME_FUA | P2PBUF_NVME_FLUSH;
	EXPECT_EQ(-EINVAL, both(&self->rig, io));
}

/* Fields of the SQE that this command does not use. */
TEST_F(commands, unused_sqe_fields)
{
	struct iovec iov = { self->rig.scratch, 4096 };
	struct io_uring_sqe *sqe;
	int field;

	ASSERT_EQ(0, io_uring_register_buffers(&self->rig.ring, &iov, 1));
	for (field = 0; field < 8; field++) {
		sqe = ptn_sqe(&self->rig.ring);
		ptn_prep(sqe, self->rig.node, &self->io);
		switch (field) {
		case 0:
			sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
			break;
		case 1:
			sqe->uring_cmd_flags = 1U << 1;
			break;
		case 2:
			sqe->uring_cmd_flags = 1U << 29;
			break;
		case 3:
			sqe->__pad1 = 1;
			break;
		case 4:
			sqe->ioprio = 1;
			break;
		case 5:
			sqe->buf_index = 1;
			break;
		case 6:
			sqe->splice_fd_in = 1;
			break;
		case 7:
			sqe->personality = 77;	/* not registered */
			break;
		}
		ASSERT_EQ(1, io_uring_submit(&self->rig.ring));
		EXPECT_EQ(-EINVAL, ptn_wait(&self->rig.ring, NULL))
			TH_LOG("field %d", field);
	}
}

TEST_F(commands, misaligned)
{
	struct ptn_rig *rig = &self->rig;
	__u32 block = rig->disk.block;

	EXPECT_EQ(-EDOM, with(rig, self->io, 0, DEV, 0));
	EXPECT_EQ(-EDOM, with(rig, self->io, 0, DEV, 1));
	EXPECT_EQ(-EDOM, with(rig, self->io, 0, DEV, block - 1));
	EXPECT_EQ(-EDOM, with(rig, self->io, 0, DEV, block + 4));
	EXPECT_EQ(-EDOM, with(rig, self->io, 0, DEV, ~0U));
	EXPECT_EQ(-EDOM, with(rig, self->io, 0, DEV + 1, block));
	EXPECT_EQ(-EDOM, with(rig, self->io, 0, DEV + block / 2, block));
	EXPECT_EQ(-EDOM, with(rig, self->io, 0, ~0ULL, block));
	EXPECT_EQ(-EDOM, with(rig, self->io, 1, DEV, block));
	EXPECT_EQ(-EDOM, with(rig, self->io, 2, DEV, block));
	EXPECT_EQ(-EDOM, with(rig, self->io, 3, DEV, 2 * PTN_MIB));
	EXPECT_EQ(-EDOM, with(rig, self->io, ~0ULL, DEV, block));
}

TEST_F(commands, out_of_range)
{
	struct ptn_rig *rig = &self->rig;
	__u64 size = rig->disk.size;
	__u32 block = rig->disk.block;

	EXPECT_EQ(-ERANGE, with(rig, self->io, SIZE, DEV, block));
	EXPECT_EQ(-ERANGE, with(rig, self->io, SIZE - block, DEV, 2 * block));
	EXPECT_EQ(-ERANGE, with(rig, self->io, SIZE - block + 4, DEV, block));
	EXPECT_EQ(-ERANGE, with(rig, self->io, 0, DEV, SIZE + block));
	EXPECT_EQ(-ERANGE, with(rig, self->io, 0, DEV, -block));
	EXPECT_EQ(-ERANGE, with(rig, self->io, 0, DEV, 1U << 31));
	EXPECT_EQ(-ERANGE, with(rig, self->io, 0, 0, 0x7ffff000));
	/* sums that wrap around */
	EXPECT_EQ(-ERANGE, with(rig, self->io, -4ULL, DEV, block));
	EXPECT_EQ(-ERANGE, with(rig, self->io, -(__u64)block, DEV, block));
	EXPECT_EQ(-ERANGE, with(rig, self->io, -(__u64)block, DEV, 2 * block));
	EXPECT_EQ(-ERANGE, with(rig, self->io, 0, size, block));
	EXPECT_EQ(-ERANGE, with(rig, self->io, 0, size - block, 2 * block));
	EXPECT_EQ(-ERANGE, with(rig, self->io, 0, -(__u64)block, block));
	EXPECT_EQ(-ERANGE, with(rig, self->io, 0, -(__u64)block, 2 * block));
	EXPECT_EQ(-ERANGE, with(rig, self->io, 0, 1ULL << 63, block));
}

TEST_F(commands, unknown_id)
{
	struct ptn_io io = self->io;
	int node = ptn_open(), id;

	io.id = 0;
	EXPECT_EQ(-ENOENT, both(&self->rig, io));
	io.id = self->rig.id + 1;
	EXPECT_EQ(-ENOENT, both(&self->rig, io));
	io.id = ~0U;
	EXPECT_EQ(-ENOENT, both(&self->rig, io));
	/* one that was */
	id = ptn_bind(self->rig.node, self->rig.buffer.dmabuf,
		      self->rig.disk.fd, P2PBUF_NVME_BIND_ALLOW_SYSTEM);
	ASSERT_LT(0, id);
	ASSERT_EQ(0, ptn_unbind(self->rig.node, id));
	io.id = id;
	EXPECT_EQ(-ENOENT, both(&self->rig, io));
	/* another file's */
	io.id = self->rig.id;
	EXPECT_EQ(-ENOENT, ptn_io(&self->rig.ring, node, &io));
	close(node);
}

/* The command is not taken for one of another node. */
TEST_F(commands, other_files)
{
	EXPECT_EQ(-EOPNOTSUPP, ptn_io(&self->rig.ring,
				      self->rig.buffer.dmabuf, &self->io));
	EXPECT_GT(0, ptn_io(&self->rig.ring, self->rig.disk.fd, &self->io));
	EXPECT_EQ(-EBADF, ptn_io(&self->rig.ring, 1000, &self->io));
}

/* Refused commands in the middle of good ones. */
TEST_F(commands, bad_among_good)
{
	struct ptn_rig *rig = &self->rig;
	__u64 data = 0;
	int i, ret;

	for (i = 0; i < 32; i++) {
		struct io_uring_sqe *sqe = ptn_sqe(&rig->ring);
		struct ptn_io io = self->io;

		io.buf = i * 4096;
		io.dev = DEV + i * 4096;
		if (i % 4 == 1)
			io.id = 999;
		if (i % 4 == 3)
			io.buf = SIZE;
		ptn_prep(sqe, rig->node, &io);
		sqe->user_data = i;
	}
	ASSERT_EQ(32, io_uring_submit(&rig->ring));
	for (i = 0; i < 32; i++) {
		ret = ptn_wait(&rig->ring, &data);
		EXPECT_EQ(data % 4 == 1 ? -ENOENT :
			  data % 4 == 3 ? -ERANGE : 4096, ret);
	}
	for (i = 0; i < 32; i++) {
		char *map = (char *)rig->buffer.map + i * 4096;

		EXPECT_EQ(4096, i % 2 ? ptn_check_poison(map, 4096) :
			  ptn_check(map, 4096, 1, DEV + i * 4096));
		ptn_poison(map, 4096);
	}
}

/* Rings whose SQEs or CQEs are of the other size. */
TEST_F(commands, wide_rings)
{
	static const __u32 flags[] = {
		IORING_SETUP_SQE128, IORING_SETUP_CQE32,
		IORING_SETUP_SQE128 | IORING_SETUP_CQE32,
	};
	struct ptn_rig *rig = &self->rig;
	struct io_uring ring;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		ASSERT_EQ(0, io_uring_queue_init(8, &ring, flags[i]));
		EXPECT_EQ(4096, ptn_io(&ring, rig->node, &self->io));
		EXPECT_EQ(4096, ptn_check(rig->buffer.map, 4096, 1, DEV));
		ptn_poison(rig->buffer.map, 4096);
		io_uring_queue_exit(&ring);
	}
}

/* The errno is that of the first thing wrong, and always the same. */
TEST_F(commands, order_of_refusals)
{
	struct ptn_io io = self->io;

	io.id = 999;
	io.len = 1;
	io.flags = 1U << 31;
	EXPECT_EQ(-EINVAL, both(&self->rig, io));
	io.flags = 0;
	EXPECT_EQ(-ENOENT, both(&self->rig, io));
	io.id = self->rig.id;
	io.buf = SIZE;
	EXPECT_EQ(-EDOM, both(&self->rig, io));
	io.len = 512;
	EXPECT_EQ(-ERANGE, both(&self->rig, io));
}

TEST_HARNESS_MAIN
