// SPDX-License-Identifier: GPL-2.0
/*
 * Segments: the fast registrations of a buffer.
 *
 * A device registers a limited number of pages with one key (512 on rxe), so
 * a buffer has as many registrations as it takes, each of the same power of
 * two of bytes. Their page lists are written by fill(): the driver may use a
 * list as soon as it is written, so all of them must have been invalidated,
 * which the core guarantees by calling it when the mapping before is unmapped.
 *
 * REG and LOCAL_INV go through the management queue pair. It has room for so
 * many at once; who has more to post waits on conn->mgmt.
 */
#include <linux/dma-direct.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include "rdma.h"

/* The key of a segment is in use from its REG to its LOCAL_INV. */
static int segment_post_reg(struct p2pbuf_rdma_buffer *b, struct ib_mr *mr)
{
	struct ib_reg_wr wr = {
		.wr.opcode = IB_WR_REG_MR,
		.wr.wr_cqe = &b->cqe,
		.wr.send_flags = IB_SEND_SIGNALED,
		.mr = mr,
		.access = b->access,
	};

	/* Never the key of an older registration. */
	ib_update_fast_reg_key(mr, ib_inc_rkey(mr->rkey));
	wr.key = mr->rkey;
	b->conn->counters.registrations++;
	return ib_post_send(b->conn->mgmt_qp, &wr.wr, NULL);
}

static int segment_post_inv(struct p2pbuf_rdma_buffer *b, struct ib_mr *mr)
{
	struct ib_send_wr wr = {
		.opcode = IB_WR_LOCAL_INV,
		.wr_cqe = &b->cqe,
		.send_flags = IB_SEND_SIGNALED,
		.ex.invalidate_rkey = mr->rkey,
	};

	b->conn->counters.invalidations++;
	return ib_post_send(b->conn->mgmt_qp, &wr, NULL);
}

static bool segment_post(struct p2pbuf_rdma_buffer *b)
{
	struct p2pbuf_rdma_conn *conn = b->conn;
	struct ib_mr *mr = b->mrs[b->posted];
	int ret;

	if (b->phase == RDMA_MAPPING)
		ret = segment_post_reg(b, mr);
	else
		ret = segment_post_inv(b, mr);
	if (ret) {
		p2pbuf_rdma_conn_kill(conn, EIO);
		return false;
	}
	b->posted++;
	b->pending++;
	conn->mgmt_free--;
	return true;
}

/**
 * p2pbuf_rdma_segments_post - register or invalidate what waits for it
 * @conn: the connection; io_lock held
 */
void p2pbuf_rdma_segments_post(struct p2pbuf_rdma_conn *conn)
{
	struct p2pbuf_rdma_buffer *b;
	u32 end;

	lockdep_assert_held(&conn->io_lock);

	while (conn->state == P2PBUF_RDMA_UP && conn->mgmt_free) {
		b = list_first_entry_or_null(&conn->mgmt,
					     struct p2pbuf_rdma_buffer,
					     mgmt_node);
		if (!b)
			break;
		end = b->phase == RDMA_MAPPING ? b->nr : b->valid;
		if (b->posted == end)
			list_del_init(&b->mgmt_node);
		else if (!segment_post(b))
			break;
	}
}

/* ---- addresses ------------------------------------------------------------- */

/*
 * A device that copies with the CPU takes kernel addresses, and looks for the
 * page behind them. The stand-in device that was attached for it is mapped
 * one to one, so what it was given are physical addresses.
 */
static int segment_address(struct p2pbuf_rdma_buffer *b, dma_addr_t addr,
			   u64 length, dma_addr_t *out)
{
	phys_addr_t phys, end;

	if (!ib_uses_virt_dma(b->conn->dev)) {
		*out = addr;
		return 0;
	}
	phys = dma_to_phys(b->att->dev, addr);
	*out = (uintptr_t)phys_to_virt(phys);
	for (end = phys + length; phys < end; phys += PAGE_SIZE)
		if (!pfn_valid(PHYS_PFN(phys)))
			return -EOPNOTSUPP;
	return 0;
}

/* Segment @segment is the @n addresses in b->sg. */
static int segment_fill(struct p2pbuf_rdma_buffer *b, u32 segment, int n)
{
	struct ib_mr *mr = b->mrs[segment];
	int ret;

	sg_mark_end(&b->sg[n - 1]);
	ret = ib_map_mr_sg(mr, b->sg, n, NULL, PAGE_SIZE);
	if (ret < 0)
		return ret;
	if (ret != n || mr->length != p2pbuf_rdma_segment_bytes(b, segment))
		return -EFAULT;
	mr->iova = p2pbuf_rdma_iova(b->id, (u64)segment << b->shift);
	return 0;
}

/**
 * struct segment_filler - where fill() has got to
 * @segment: being filled
 * @n: addresses of it
 * @have: bytes of it
 */
struct segment_filler {
	u32 segment;
	int n;
	u64 have;
};

/* Append a run of addresses, cut at the ends of segments. */
static int segments_add(struct p2pbuf_rdma_buffer *b, struct segment_filler *f,
			dma_addr_t addr, u64 length)
{
	u32 whole;
	u64 bytes;
	int ret;

	while (length && f->segment < b->nr) {
		whole = p2pbuf_rdma_segment_bytes(b, f->segment);
		bytes = min_t(u64, length, whole - f->have);
		if (!f->n)
			sg_init_table(b->sg, BIT(b->shift - PAGE_SHIFT));
		ret = segment_address(b, addr, bytes,
				      &sg_dma_address(&b->sg[f->n]));
		if (ret)
			return ret;
		sg_dma_len(&b->sg[f->n++]) = bytes;
		f->have += bytes;
		addr += bytes;
		length -= bytes;
		if (f->have < whole)
			continue;
		ret = segment_fill(b, f->segment, f->n);
		if (ret)
			return ret;
		*f = (struct segment_filler){ .segment = f->segment + 1 };
	}
	return 0;
}

/**
 * p2pbuf_rdma_segments_fill - write the page lists of a new mapping
 * @b: the buffer
 * @sgt: the mapping; the core has seen that it is made of whole pages
 *
 * Context: the importer's fill callback; see &struct p2pbuf_importer_ops.
 * Return: 0; -EOPNOTSUPP when the device needs pages and there are none;
 * -EFAULT when the mapping is shorter than the buffer; or what the device says.
 */
int p2pbuf_rdma_segments_fill(struct p2pbuf_rdma_buffer *b,
			      struct sg_table *sgt)
{
	struct segment_filler f = {};
	u64 skip = b->offset, length;
	struct scatterlist *sg;
	int i, ret;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		length = sg_dma_len(sg);
		if (skip >= length) {
			skip -= length;
			continue;
		}
		ret = segments_add(b, &f, sg_dma_address(sg) + skip,
				   length - skip);
		if (ret)
			return ret;
		skip = 0;
		cond_resched();
	}
	return f.segment < b->nr ? -EFAULT : 0;
}

/* ---- memory ---------------------------------------------------------------- */

/* -ENOMEM or what the device said; p2pbuf_rdma_segments_free() undoes it. */
int p2pbuf_rdma_segments_alloc(struct p2pbuf_rdma_buffer *b)
{
	u32 i, pages = BIT(b->shift - PAGE_SHIFT);
	struct ib_mr *mr;

	b->mrs = kvcalloc(b->nr, sizeof(*b->mrs), GFP_KERNEL_ACCOUNT);
	b->sg = kvcalloc(pages, sizeof(*b->sg), GFP_KERNEL_ACCOUNT);
	if (!b->mrs || !b->sg)
		return -ENOMEM;
	for (i = 0; i < b->nr; i++) {
		mr = ib_alloc_mr(b->conn->pd, IB_MR_TYPE_MEM_REG,
				 p2pbuf_rdma_segment_bytes(b, i) >> PAGE_SHIFT);
		if (IS_ERR(mr))
			return PTR_ERR(mr);
		b->mrs[i] = mr;
	}
	return 0;
}

/* Idempotent. Nothing is registered, or nobody can reach it any more. */
void p2pbuf_rdma_segments_free(struct p2pbuf_rdma_buffer *b)
{
	u32 i;

	for (i = 0; b->mrs && i < b->nr; i++)
		if (b->mrs[i])
			ib_dereg_mr(b->mrs[i]);
	kvfree(b->mrs);
	kvfree(b->sg);
	b->mrs = NULL;
	b->sg = NULL;
}
