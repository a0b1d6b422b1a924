// SPDX-License-Identifier: GPL-2.0
/*
 * Queues: what a connection has of the RDMA device.
 *
 * Two queue pairs share one protection domain that nobody else is in. One is
 * connected to the peer's. The other registers and invalidates memory; it is
 * brought to life with the path of the first, to itself, and never sends a
 * packet. On the first an invalidation would wait for everything before it to
 * be acknowledged, by a peer that may be silent, and be flushed, not done,
 * once that queue is in error.
 *
 * A remote key is good on queue pairs of its protection domain only. So when
 * the connected queue pair is in the error state and drained, nobody reaches
 * any memory through it, whatever is still registered: that is the last
 * resort, and it needs nothing but the local device.
 */
#include <linux/log2.h>
#include <linux/slab.h>
#include "rdma.h"

/**
 * p2pbuf_rdma_wc_errno - what a failed work request has to report
 * @wc: its completion
 *
 * Return: a negative errno of the table in the uapi header.
 */
int p2pbuf_rdma_wc_errno(const struct ib_wc *wc)
{
	switch (wc->status) {
	case IB_WC_REM_ACCESS_ERR:
		return -EACCES;
	case IB_WC_WR_FLUSH_ERR:
		return -ECONNRESET;
	case IB_WC_RETRY_EXC_ERR:
	case IB_WC_RNR_RETRY_EXC_ERR:
		return -ETIMEDOUT;
	case IB_WC_REM_INV_REQ_ERR:
	case IB_WC_REM_OP_ERR:
	case IB_WC_REM_ABORT_ERR:
		return -EREMOTEIO;
	default:
		return -EIO;
	}
}

/* A work request that failed is the end of its queue, and of the connection. */
bool p2pbuf_rdma_failed(struct p2pbuf_rdma_conn *conn, const struct ib_wc *wc)
{
	lockdep_assert_held(&conn->io_lock);

	if (likely(wc->status == IB_WC_SUCCESS))
		return false;
	/* A call that was refused: rdma_cm says so, and why. */
	if (conn->state == P2PBUF_RDMA_CONNECTING &&
	    wc->status == IB_WC_WR_FLUSH_ERR)
		return true;
	p2pbuf_rdma_conn_kill(conn, -p2pbuf_rdma_wc_errno(wc));
	return true;
}

static int queue_check_device(struct p2pbuf_rdma_conn *conn)
{
	struct ib_device *dev = conn->id->device;
	u32 pages = dev->attrs.max_fast_reg_page_list_len;

	if (!(dev->attrs.device_cap_flags & IB_DEVICE_MEM_MGT_EXTENSIONS) ||
	    !pages)
		return -EOPNOTSUPP;
	/* There a queue pair cannot be its own peer. */
	if (!rdma_cap_ib_cm(dev, conn->id->port_num))
		return -EOPNOTSUPP;
	conn->segment_shift = min_t(u32, ilog2(pages) + PAGE_SHIFT,
				    RDMA_SEGMENT_SHIFT_MAX);
	return 0;
}

static int queue_create_cqs(struct p2pbuf_rdma_conn *conn)
{
	int depth = RDMA_SQ_PIECES + P2PBUF_RDMA_WINDOW + RDMA_RX + 2;
	struct ib_cq *cq;

	cq = ib_alloc_cq_any(conn->dev, conn, depth, IB_POLL_WORKQUEUE);
	if (IS_ERR(cq))
		return PTR_ERR(cq);
	conn->cq = cq;
	cq = ib_alloc_cq_any(conn->dev, conn, RDMA_MGMT_DEPTH + 2,
			     IB_POLL_WORKQUEUE);
	if (IS_ERR(cq))
		return PTR_ERR(cq);
	conn->mgmt_cq = cq;
	return 0;
}

static int queue_create_qps(struct p2pbuf_rdma_conn *conn)
{
	struct ib_qp_init_attr attr = {
		.qp_type = IB_QPT_RC,
		.sq_sig_type = IB_SIGNAL_REQ_WR,
		.send_cq = conn->cq,
		.recv_cq = conn->cq,
		.cap = {
			/* One more each to drain with. */
			.max_send_wr = RDMA_SQ_PIECES + P2PBUF_RDMA_WINDOW + 1,
			.max_recv_wr = RDMA_RX + 1,
			.max_send_sge = 1,
			.max_recv_sge = 1,
		},
	};
	struct ib_qp *qp;
	int ret;

	ret = rdma_create_qp(conn->id, conn->pd, &attr);
	if (ret)
		return ret;
	conn->qp = conn->id->qp;
	attr.send_cq = conn->mgmt_cq;
	attr.recv_cq = conn->mgmt_cq;
	attr.cap.max_send_wr = RDMA_MGMT_DEPTH + 1;
	attr.cap.max_recv_wr = 1;
	attr.port_num = conn->id->port_num;
	qp = ib_create_qp(conn->pd, &attr);
	if (IS_ERR(qp))
		return PTR_ERR(qp);
	conn->mgmt_qp = qp;
	return 0;
}

static int queue_create_flush(struct p2pbuf_rdma_conn *conn)
{
	u64 dma;

	conn->flush_byte = kzalloc(SMP_CACHE_BYTES, GFP_KERNEL_ACCOUNT);
	if (!conn->flush_byte)
		return -ENOMEM;
	dma = ib_dma_map_single(conn->dev, conn->flush_byte, SMP_CACHE_BYTES,
				DMA_FROM_DEVICE);
	if (ib_dma_mapping_error(conn->dev, dma)) {
		kfree(conn->flush_byte);
		conn->flush_byte = NULL;
		return -ENOMEM;
	}
	conn->flush_dma = dma;
	return 0;
}

static int queue_create_keys(struct p2pbuf_rdma_conn *conn)
{
	u32 id;

	conn->keys = kvcalloc(RDMA_IDS,
			      P2PBUF_RDMA_MAX_SEGMENTS * sizeof(*conn->keys),
			      GFP_KERNEL_ACCOUNT);
	if (!conn->keys)
		return -ENOMEM;
	for (id = 0; id < RDMA_IDS; id++)
		conn->remotes[id].keys =
			conn->keys + id * P2PBUF_RDMA_MAX_SEGMENTS;
	return 0;
}

/**
 * p2pbuf_rdma_queue_setup - everything that is needed before connecting
 * @conn: its id is bound to a device; conn->lock held
 *
 * Receives are posted: the peer may speak as soon as it is connected.
 *
 * Return: 0, -EOPNOTSUPP, -ENOMEM or what the device said.
 * p2pbuf_rdma_queue_destroy() undoes it, also when it has failed.
 */
int p2pbuf_rdma_queue_setup(struct p2pbuf_rdma_conn *conn)
{
	struct ib_pd *pd;
	int ret;

	lockdep_assert_held(&conn->lock);

	ret = queue_check_device(conn);
	if (ret)
		return ret;
	conn->dev = conn->id->device;
	pd = ib_alloc_pd(conn->dev, 0);
	if (IS_ERR(pd))
		return PTR_ERR(pd);
	conn->pd = pd;
	ret = queue_create_cqs(conn);
	if (!ret)
		ret = queue_create_flush(conn);
	if (!ret)
		ret = queue_create_keys(conn);
	if (!ret)
		ret = queue_create_qps(conn);
	if (!ret)
		ret = p2pbuf_rdma_wire_start(conn);
	return ret;
}

static int queue_mgmt_state(struct p2pbuf_rdma_conn *conn,
			    enum ib_qp_state state)
{
	struct ib_qp_attr attr = { .qp_state = state };
	int mask, ret;

	ret = rdma_init_qp_attr(conn->id, &attr, &mask);
	/* The peer has left already, and its path with it. */
	if (ret == -EINVAL)
		ret = -ECONNABORTED;
	if (ret)
		return ret;
	if (state == IB_QPS_INIT)
		attr.qp_access_flags = 0;
	if (state == IB_QPS_RTR)
		attr.dest_qp_num = conn->mgmt_qp->qp_num;
	return ib_modify_qp(conn->mgmt_qp, &attr, mask);
}

/*
 * Connected: the other queue pair borrows the path. conn->lock held.
 * -ECONNABORTED when there is none any more, or what the device said.
 */
int p2pbuf_rdma_queue_start_mgmt(struct p2pbuf_rdma_conn *conn)
{
	int ret;

	lockdep_assert_held(&conn->lock);

	ret = queue_mgmt_state(conn, IB_QPS_INIT);
	if (!ret)
		ret = queue_mgmt_state(conn, IB_QPS_RTR);
	if (!ret)
		ret = queue_mgmt_state(conn, IB_QPS_RTS);
	return ret;
}

/*
 * The connection was up and is dead, so nothing is posted any more. On return
 * nothing is under way either: no completion will come, the peer reaches
 * nothing. Not for queues that were never up: some devices do not end what was
 * posted to a queue pair that they could not bring up
 * (Documentation/kernel-bugs.rst).
 */
void p2pbuf_rdma_queue_drain(struct p2pbuf_rdma_conn *conn)
{
	ib_drain_qp(conn->qp);
	ib_drain_qp(conn->mgmt_qp);
}

static void queue_free_messages(struct p2pbuf_rdma_conn *conn)
{
	struct p2pbuf_rdma_channel *c = &conn->channel;

	if (c->tx_dma)
		ib_dma_unmap_single(conn->dev, c->tx_dma,
				    P2PBUF_RDMA_WINDOW * sizeof(*c->tx),
				    DMA_TO_DEVICE);
	if (c->rx_dma)
		ib_dma_unmap_single(conn->dev, c->rx_dma,
				    RDMA_RX * sizeof(*c->rx), DMA_FROM_DEVICE);
	if (conn->flush_dma)
		ib_dma_unmap_single(conn->dev, conn->flush_dma,
				    SMP_CACHE_BYTES, DMA_FROM_DEVICE);
	c->tx_dma = 0;
	c->rx_dma = 0;
	conn->flush_dma = 0;
	kfree(c->tx);
	kfree(c->rx);
	kfree(conn->flush_byte);
	c->tx = NULL;
	c->rx = NULL;
	conn->flush_byte = NULL;
}

/*
 * Idempotent. Drained or never up, no buffer is registered; conn->lock held.
 */
void p2pbuf_rdma_queue_destroy(struct p2pbuf_rdma_conn *conn)
{
	lockdep_assert_held(&conn->lock);

	if (conn->mgmt_qp)
		ib_destroy_qp(conn->mgmt_qp);
	if (conn->qp)
		rdma_destroy_qp(conn->id);
	conn->mgmt_qp = NULL;
	conn->qp = NULL;
	if (conn->mgmt_cq)
		ib_free_cq(conn->mgmt_cq);
	if (conn->cq)
		ib_free_cq(conn->cq);
	conn->mgmt_cq = NULL;
	conn->cq = NULL;
	queue_free_messages(conn);
	if (conn->pd)
		ib_dealloc_pd(conn->pd);
	conn->pd = NULL;
	kvfree(conn->keys);
	conn->keys = NULL;
}
