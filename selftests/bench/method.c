// SPDX-License-Identifier: GPL-2.0
/*
 * The ways to get data from the drive. All use fixed files; those that go to
 * host memory use fixed buffers, one for each I/O of a burst.
 */
#include <string.h>

#include <linux/nvme_ioctl.h>
#include <linux/p2pbuf_nvme.h>

#include "bench.h"

static int disk_fd(const struct bench_target *t)
{
	return t->disk;
}

static int ng_fd(const struct bench_target *t)
{
	return t->ng;
}

static int node_fd(const struct bench_target *t)
{
	return t->node;
}

static char *pages_buffer(const struct bench_target *t)
{
	return t->pages;
}

static char *huge_buffer(const struct bench_target *t)
{
	return t->huge;
}

static void prepare_nop(const struct bench_run *run, struct io_uring_sqe *sqe,
			uint32_t i)
{
	(void)run;
	(void)i;
	io_uring_prep_nop(sqe);
}

static void prepare_premapped(const struct bench_run *run,
			      struct io_uring_sqe *sqe, uint32_t i)
{
	struct p2pbuf_nvme_cmd *cmd = (struct p2pbuf_nvme_cmd *)sqe->cmd;

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, 0,
			 (void *)(uintptr_t)bench_slot(run, i), run->size, 0);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->cmd_op = P2PBUF_NVME_URING_READ;
	cmd->dev_offset = bench_place(i);
	cmd->id = run->target->binding;
	cmd->flags = 0;
}

static void prepare_read_fixed(const struct bench_run *run,
			       struct io_uring_sqe *sqe, uint32_t i)
{
	io_uring_prep_read_fixed(sqe, 0, run->buffer + bench_slot(run, i),
				 run->size, bench_place(i), i);
	sqe->flags = IOSQE_FIXED_FILE;
}

static void prepare_passthrough(const struct bench_run *run,
				struct io_uring_sqe *sqe, uint32_t i)
{
	struct nvme_uring_cmd *cmd = (struct nvme_uring_cmd *)sqe->cmd;
	uint64_t block = bench_place(i) >> run->target->lba_shift;

	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->cmd_op = NVME_URING_CMD_IO;
	sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
	sqe->buf_index = i;
	cmd->opcode = 2;	/* Read, NVM Command Set specification */
	cmd->nsid = run->target->nsid;
	cmd->addr = (uintptr_t)(run->buffer + bench_slot(run, i));
	cmd->data_len = run->size;
	cmd->cdw10 = (uint32_t)block;
	cmd->cdw11 = (uint32_t)(block >> 32);
	cmd->cdw12 = (run->size >> run->target->lba_shift) - 1;
}

static void arrived_copy(const struct bench_run *run, uint32_t i)
{
	bench_copy(run->target->vram + bench_slot(run, i),
		   run->buffer + bench_slot(run, i), run->size);
}

const struct bench_method bench_nop = {
	.name = "nop",
	.fd = disk_fd,
	.prepare = prepare_nop,
	.result_is_zero = true,
};

const struct bench_method bench_methods[] = {
	{
		.name = "premapped",
		.fd = node_fd,
		.prepare = prepare_premapped,
	}, {
		.name = "read-fixed",
		.fd = disk_fd,
		.buffer = pages_buffer,
		.prepare = prepare_read_fixed,
	}, {
		.name = "read-fixed-huge",
		.fd = disk_fd,
		.buffer = huge_buffer,
		.prepare = prepare_read_fixed,
	}, {
		.name = "passthrough-fixed",
		.ring_flags = IORING_SETUP_SQE128 | IORING_SETUP_CQE32,
		.fd = ng_fd,
		.buffer = pages_buffer,
		.prepare = prepare_passthrough,
		.whole_command = true,
		.result_is_zero = true,
	}, {
		.name = "read-fixed-copy",
		.fd = disk_fd,
		.buffer = pages_buffer,
		.prepare = prepare_read_fixed,
		.arrived = arrived_copy,
	},
};

const unsigned int bench_nr_methods = ARRAY_SIZE(bench_methods);
