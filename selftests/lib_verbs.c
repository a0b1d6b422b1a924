// SPDX-License-Identifier: GPL-2.0
/* p2pbuf_reg_mr(): addresses, rights, placement, and a reason for each no. */
#include "kselftest_harness.h"

#include <p2pbuf-verbs.h>

#include "p2pbuf_test_exporter.h"
#include "p2pbuf_test_lib.h"
#include "p2pbuf_test_nic.h"
#include "p2pbuf_test_provider.h"

#define SIZE	(256UL * 1024)
#define PIECE	(64UL * 1024)
#define VRAM	P2PBUF_PLACEMENT_VRAM
#define SYSTEM	P2PBUF_PLACEMENT_SYSTEM
#define READ	IBV_ACCESS_REMOTE_READ

FIXTURE(mr)
{
	struct p2pbuf_exporter *exporter;
	struct p2pbuf_buffer *buf;
	struct p2pbuf_error error;
	struct ptv_pair pair;
	char *cpu;
};

FIXTURE_SETUP(mr)
{
	const char *path = getenv("P2PBUF_EXPECT_PATH");
	void *p;

	self->error.size = sizeof(self->error);
	if (access("/sys/module/" PTV_MODULE, F_OK))
		SKIP(return, "no test NIC for this kernel or machine");
	if (path && !strcmp(path, "refused"))
		SKIP(return, "no way from device to device here");
	ASSERT_EQ(0, p2pbuf_exporter_open(NULL, &self->exporter, NULL));
	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, NULL, &self->buf, NULL));
	ASSERT_EQ(0, p2pbuf_map(self->buf, 0, SIZE, P2PBUF_READ | P2PBUF_WRITE,
				&p));
	self->cpu = p;
	ASSERT_EQ(0, ptv_open_pair(PTV_DEVICE, &self->pair));
	ASSERT_EQ(0, ptv_nic_flavour("dynamic"));
}

FIXTURE_TEARDOWN(mr)
{
	ptv_close(&self->pair);
	if (self->cpu)
		p2pbuf_unmap(self->cpu, SIZE);
	p2pbuf_free(self->buf);
	if (self->exporter)
		p2pbuf_exporter_close(self->exporter);
}

static uint32_t placement(struct p2pbuf_buffer *buf)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };

	return p2pbuf_query(buf, &info) ? 0 : info.placement;
}

/* From one region into another, which has been poisoned. */
static int copy(struct _test_data_mr *self, struct ibv_mr *from, uint64_t src,
		struct ibv_mr *to, uint64_t dst)
{
	return ptv_rdma(&self->pair, IBV_WR_RDMA_WRITE,
			(struct ptv_side){ src, from->lkey }, PIECE,
			(struct ptv_side){ dst, to->rkey });
}

TEST_F(mr, addresses_are_offsets)
{
	struct p2pbuf_mr_opts opts = {
		.size = sizeof(opts),
		.offset = 2 * PIECE,
		.length = PIECE,
	};
	struct ibv_mr *whole, *part;

	ASSERT_EQ(0, p2pbuf_reg_mr(self->pair.pd, self->buf, PTV_ALL, NULL,
				   &whole, &self->error))
		TH_LOG("%s", self->error.text);
	EXPECT_EQ(SIZE, whole->length);
	EXPECT_EQ(NULL, whole->addr);
	ASSERT_EQ(0, p2pbuf_reg_mr(self->pair.pd, self->buf, PTV_ALL, &opts,
				   &part, &self->error));
	EXPECT_EQ(PIECE, part->length);
	EXPECT_EQ(2 * PIECE, (uintptr_t)part->addr);

	ptx_fill(self->cpu, PIECE, 1);
	memset(self->cpu + PIECE, 0xee, SIZE - PIECE);
	ASSERT_EQ(0, copy(self, whole, 0, part, 2 * PIECE));
	EXPECT_EQ(PIECE, ptx_check(self->cpu + 2 * PIECE, PIECE, 1));
	EXPECT_EQ(PIECE, ptx_check_value(self->cpu + PIECE, PIECE,
					 0xeeeeeeeeeeeeeeeeULL));
	EXPECT_EQ(PIECE, ptx_check_value(self->cpu + 3 * PIECE, PIECE,
					 0xeeeeeeeeeeeeeeeeULL));
	EXPECT_EQ(VRAM, placement(self->buf));

	/* It moves, and the region with it. */
	ASSERT_EQ(0, p2pbuf_move(self->buf, SYSTEM, 0, NULL));
	ptx_fill(self->cpu, PIECE, 2);
	ASSERT_EQ(0, copy(self, whole, 0, part, 2 * PIECE));
	EXPECT_EQ(PIECE, ptx_check(self->cpu + 2 * PIECE, PIECE, 2));
	EXPECT_EQ(0, ibv_dereg_mr(part));
	EXPECT_EQ(0, ibv_dereg_mr(whole));
}

TEST_F(mr, address_of_choice)
{
	struct p2pbuf_mr_opts opts = {
		.size = sizeof(opts),
		.flags = P2PBUF_MR_IOVA,
		.offset = PIECE + 100,
		.iova = (1ULL << 44) + 100,
	};
	struct ibv_mr *whole, *mr;

	ASSERT_EQ(0, p2pbuf_reg_mr(self->pair.pd, self->buf, PTV_ALL, NULL,
				   &whole, &self->error));
	ASSERT_EQ(0, p2pbuf_reg_mr(self->pair.pd, self->buf, PTV_ALL, &opts,
				   &mr, &self->error));
	EXPECT_EQ(SIZE - PIECE - 100, mr->length);
	EXPECT_EQ(opts.iova, (uintptr_t)mr->addr);
	ptx_fill(self->cpu, PIECE, 3);
	memset(self->cpu + PIECE, 0xee, PIECE + 100);
	ASSERT_EQ(0, copy(self, whole, 0, mr, opts.iova));
	EXPECT_EQ(PIECE, ptx_check(self->cpu + PIECE + 100, PIECE, 3));
	EXPECT_EQ(96, ptx_check_value(self->cpu + PIECE, 96,
				      0xeeeeeeeeeeeeeeeeULL));

	opts.iova++;
	EXPECT_EQ(-EINVAL, p2pbuf_reg_mr(self->pair.pd, self->buf, PTV_ALL,
					 &opts, &mr, &self->error));
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	EXPECT_NE(NULL, strstr(self->error.text, "equally far into a page"));
	opts.iova = -4096ULL + 100;
	EXPECT_EQ(-EINVAL, p2pbuf_reg_mr(self->pair.pd, self->buf, PTV_ALL,
					 &opts, &mr, &self->error));
	EXPECT_TRUE(ptl_is_sentence(&self->error));
}

TEST_F(mr, malformed)
{
	struct {
		struct p2pbuf_mr_opts opts;
		uint64_t more;
	} longer = { };
	struct p2pbuf_mr_opts *opts = &longer.opts, good = { };
	struct ibv_mr *mr;
	int fds = ptl_count_fds();
	unsigned int i;
	static const struct {
		int error;
		size_t size;
		struct p2pbuf_mr_opts opts;
		uint64_t more;
	} bad[] = {
		{ EINVAL, sizeof(good) - 1, { }, 0 },
		{ E2BIG, sizeof(longer), { }, 1 },
		{ EINVAL, sizeof(good), { .flags = 1U << 31 }, 0 },
		{ EINVAL, sizeof(good), { .pad = 1 }, 0 },
		{ EINVAL, sizeof(good), { .iova = 4096 }, 0 },
		{ ERANGE, sizeof(good), { .offset = SIZE }, 0 },
		{ ERANGE, sizeof(good), { .length = SIZE + 1 }, 0 },
		{ ERANGE, sizeof(good), { .offset = 1, .length = SIZE }, 0 },
		{ ERANGE, sizeof(good), { .offset = 1, .length = -1ULL }, 0 },
	};

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		*opts = bad[i].opts;
		opts->size = bad[i].size;
		longer.more = bad[i].more;
		memset(self->error.text, 0, sizeof(self->error.text));
		EXPECT_EQ(-bad[i].error,
			  p2pbuf_reg_mr(self->pair.pd, self->buf, READ, opts,
					&mr, &self->error))
			TH_LOG("case %u", i);
		EXPECT_EQ(bad[i].error, self->error.code);
		EXPECT_TRUE(ptl_is_sentence(&self->error));
		EXPECT_EQ(-bad[i].error,
			  p2pbuf_reg_mr(self->pair.pd, self->buf, READ, opts,
					&mr, NULL));
	}
	/* the kernel's own word on access */
	EXPECT_EQ(-EINVAL, p2pbuf_reg_mr(self->pair.pd, self->buf,
					 IBV_ACCESS_REMOTE_WRITE, NULL, &mr,
					 &self->error));
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	EXPECT_EQ(fds, ptl_count_fds());
}

/* The kernel's verbs do not look at what the descriptor allows. */
TEST_F(mr, read_only_descriptor)
{
	struct drm_p2pbuf_gem_create bo;
	struct p2pbuf_buffer *buf;
	struct ibv_mr *mr;
	int node, fd;

	node = p2pbuf_exporter_fd(self->exporter);
	ASSERT_EQ(0, ptx_create(node, SIZE, VRAM, 0, &bo));
	fd = ptx_export(node, bo.handle, false);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, p2pbuf_import(fd, &buf, &self->error));
	EXPECT_EQ(-EACCES, p2pbuf_reg_mr(self->pair.pd, buf, PTV_ALL, NULL, &mr,
					 &self->error));
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	ASSERT_EQ(0, p2pbuf_reg_mr(self->pair.pd, buf, READ, NULL, &mr,
				   &self->error));
	EXPECT_EQ(0, ibv_dereg_mr(mr));
	p2pbuf_free(buf);
	close(fd);
	ptx_close(node, bo.handle);
}

/* Nor at this: with its lkey a region can always be read. */
TEST_F(mr, write_only_descriptor)
{
	const struct p2pbuf_mr_opts opts = {
		.size = sizeof(opts),
		.flags = P2PBUF_ALLOW_SYSTEM,
	};
	struct p2pbuf_buffer *buf;
	struct ibv_mr *mr = NULL;
	int fd = ptk_heap(SIZE, O_WRONLY);

	if (fd < 0)
		SKIP(return, "no dma-heap here");
	ASSERT_EQ(0, p2pbuf_import(fd, &buf, &self->error));
	close(fd);
	EXPECT_EQ(-EACCES, p2pbuf_reg_mr(self->pair.pd, buf,
					 IBV_ACCESS_LOCAL_WRITE, &opts, &mr,
					 &self->error));
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	EXPECT_EQ(NULL, mr);
	p2pbuf_free(buf);
}

TEST_F(mr, never_silently_host_memory)
{
	struct p2pbuf_alloc_opts only = {
		.size = sizeof(only),
		.flags = P2PBUF_VRAM_ONLY,
	};
	struct p2pbuf_mr_opts opts = {
		.size = sizeof(opts),
		.flags = P2PBUF_ALLOW_SYSTEM,
	};
	struct p2pbuf_buffer *buf;
	struct ibv_mr *mr;

	/* A NIC that pins and cannot be revoked gets no VRAM by default. */
	ASSERT_EQ(0, ptv_nic_flavour("pinned"));
	ptx_fill(self->cpu, SIZE, 4);
	EXPECT_EQ(-EREMOTEIO, p2pbuf_reg_mr(self->pair.pd, self->buf, READ,
					    NULL, &mr, &self->error));
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	EXPECT_EQ(VRAM, placement(self->buf));
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 4));

	ASSERT_EQ(0, p2pbuf_reg_mr(self->pair.pd, self->buf, READ, &opts, &mr,
				   &self->error));
	EXPECT_EQ(SYSTEM, placement(self->buf));
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 4));
	EXPECT_EQ(0, ibv_dereg_mr(mr));

	/* It lies there already, whatever the NIC can reach. */
	ASSERT_EQ(0, ptv_nic_flavour("dynamic"));
	EXPECT_EQ(-EREMOTEIO, p2pbuf_reg_mr(self->pair.pd, self->buf, READ,
					    NULL, &mr, &self->error));
	EXPECT_TRUE(ptl_is_sentence(&self->error));

	ASSERT_EQ(0, ptv_nic_flavour("pinned"));
	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, &only, &buf, NULL));
	EXPECT_EQ(-EREMOTEIO, p2pbuf_reg_mr(self->pair.pd, buf, READ, &opts,
					    &mr, &self->error));
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	p2pbuf_free(buf);
}

/* Of a foreign exporter, which has host memory only, nobody can tell. */
TEST_F(mr, foreign_buffer)
{
	struct p2pbuf_buffer *buf;
	struct ibv_mr *mr;
	int fd = ptk_udmabuf(SIZE);

	if (fd < 0)
		SKIP(return, "no udmabuf here");
	ASSERT_EQ(0, p2pbuf_import(fd, &buf, &self->error));
	close(fd);
	ASSERT_EQ(0, p2pbuf_reg_mr(self->pair.pd, buf, PTV_ALL, NULL, &mr,
				   &self->error))
		TH_LOG("%s", self->error.text);
	p2pbuf_free(buf);
	EXPECT_EQ(0, ibv_dereg_mr(mr));
}

int main(int argc, char **argv)
{
	return ptv_main(argc, argv);
}
