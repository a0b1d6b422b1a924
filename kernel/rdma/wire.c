// SPDX-License-Identifier: GPL-2.0
/*
 * Control channel: messages of fixed size on the connected queue pair.
 *
 * Nobody queues a message. Who has something to say sets a bit, and the pump
 * makes a message of it when the peer has room for one: so nothing is
 * allocated, however much a peer asks for. What is said is what holds then,
 * not what held when the bit was set.
 *
 * Room
 * ----
 * Each side keeps RDMA_RX receives posted: WINDOW for messages, IMM_WINDOW for
 * writes with immediate data, which use up a receive each. Every message tells
 * how far the other direction was seen, so a sender knows how many of its own
 * may be unseen, at most WINDOW. The last place of the window is kept for a
 * message that tells only that (CREDIT); it is sent when half a window has
 * been seen without a word. Two sides that have both filled their windows have
 * that place left, and the two CREDITs free both. Half a window of immediate
 * data that was taken is told in a CREDIT as well, but not in the last place: it
 * may acknowledge too few messages to make room, and the other side do the same.
 *
 * Trust
 * -----
 * The peer may be anybody. Each field is compared with what it may be in the
 * state that this side is in. What does not fit ends the connection (EPROTO),
 * and with it everything the peer could reach.
 */
#include <linux/slab.h>
#include "rdma.h"

static void wire_sent(struct ib_cq *cq, struct ib_wc *wc)
{
	struct p2pbuf_rdma_conn *conn = cq->cq_context;
	struct p2pbuf_rdma_channel *c = &conn->channel;

	spin_lock(&conn->io_lock);
	clear_bit(wc->wr_cqe - c->tx_cqe, c->tx_busy);
	if (!p2pbuf_rdma_failed(conn, wc))
		p2pbuf_rdma_wire_pump(conn);
	spin_unlock(&conn->io_lock);
}

static int wire_post_receive(struct p2pbuf_rdma_conn *conn, u32 slot)
{
	struct p2pbuf_rdma_channel *c = &conn->channel;
	struct ib_sge sge = {
		.addr = c->rx_dma + slot * sizeof(*c->rx),
		.length = sizeof(*c->rx),
		.lkey = conn->pd->local_dma_lkey,
	};
	struct ib_recv_wr wr = {
		.wr_cqe = &c->rx_cqe[slot],
		.sg_list = &sge,
		.num_sge = 1,
	};

	return ib_post_recv(conn->qp, &wr, NULL);
}

/* ---- what the peer says ---------------------------------------------------- */

/* A cumulative count can only grow, and not beyond what was sent. */
static bool wire_take_ack(u32 ack, u32 sent, u32 *acked)
{
	if (ack - *acked > sent - *acked)
		return false;
	*acked = ack;
	return true;
}

static bool wire_head_ok(struct p2pbuf_rdma_conn *conn,
			 const struct p2pbuf_rdma_msg *msg)
{
	struct p2pbuf_rdma_channel *c = &conn->channel;

	if (msg->magic != cpu_to_le32(P2PBUF_RDMA_MAGIC) ||
	    msg->version != cpu_to_le16(P2PBUF_RDMA_VERSION) ||
	    le32_to_cpu(msg->seq) != c->rx_seq + 1 ||
	    c->rx_seq + 1 - c->rx_told > P2PBUF_RDMA_WINDOW)
		return false;
	c->rx_seq++;
	return wire_take_ack(le32_to_cpu(msg->ack), c->tx_seq, &c->tx_acked) &&
	       wire_take_ack(le32_to_cpu(msg->imm_ack), c->imm_sent,
			     &c->imm_acked);
}

/* Is everything that this type does not use zero? */
static bool wire_rest_is_zero(const struct p2pbuf_rdma_msg *msg)
{
	bool lease = msg->length || msg->segment || msg->count || msg->shift ||
		     msg->rights || memchr_inv(msg->keys, 0, sizeof(msg->keys));

	switch (le16_to_cpu(msg->type)) {
	case P2PBUF_RDMA_CREDIT:
		return !lease && !msg->id && !msg->epoch && !msg->flags;
	case P2PBUF_RDMA_GRANT_LEASE:
		return !msg->flags;
	case P2PBUF_RDMA_RECALL_LEASE:
		return !lease && !(msg->flags & ~P2PBUF_RDMA_FOR_GOOD);
	default:
		return !lease && !msg->flags;
	}
}

static bool wire_message(struct p2pbuf_rdma_conn *conn,
			 const struct p2pbuf_rdma_msg *msg)
{
	u16 type = le16_to_cpu(msg->type);
	u32 id = le32_to_cpu(msg->id);
	u32 before = conn->channel.imm_acked;

	if (!wire_head_ok(conn, msg) || !wire_rest_is_zero(msg))
		return false;
	conn->counters.messages_received++;
	/* There is a place again for a write with immediate data. */
	if (conn->channel.imm_acked != before)
		p2pbuf_rdma_io_unpark(conn);
	if (type == P2PBUF_RDMA_CREDIT)
		return true;
	if (!p2pbuf_rdma_id_ok(id))
		return false;
	if (type == P2PBUF_RDMA_RECALL_ACK)
		return p2pbuf_rdma_buffer_acked(conn, id,
						le64_to_cpu(msg->epoch));
	return p2pbuf_rdma_remote_message(conn, msg);
}

static bool wire_immediate(struct p2pbuf_rdma_conn *conn, u32 imm)
{
	struct p2pbuf_rdma_channel *c = &conn->channel;

	if (imm >> P2PBUF_RDMA_IMM_BITS ||
	    c->imm_seen - c->imm_told >= P2PBUF_RDMA_IMM_WINDOW)
		return false;
	c->imm[c->imm_seen++ % P2PBUF_RDMA_IMM_WINDOW] = imm;
	p2pbuf_rdma_io_imm(conn);
	return true;
}

/*
 * Took the message out of slot @slot, and the slot is free for the next. False:
 * what the peer said is against the protocol.
 */
static bool wire_receive(struct p2pbuf_rdma_conn *conn, const struct ib_wc *wc,
			 u32 slot)
{
	struct p2pbuf_rdma_channel *c = &conn->channel;
	struct p2pbuf_rdma_msg msg;

	ib_dma_sync_single_for_cpu(conn->dev, c->rx_dma + slot * sizeof(msg),
				   sizeof(msg), DMA_FROM_DEVICE);
	msg = c->rx[slot];
	ib_dma_sync_single_for_device(conn->dev, c->rx_dma + slot * sizeof(msg),
				      sizeof(msg), DMA_FROM_DEVICE);
	if (wire_post_receive(conn, slot)) {
		p2pbuf_rdma_conn_kill(conn, EIO);
		return true;
	}
	if (wc->opcode == IB_WC_RECV_RDMA_WITH_IMM)
		return wire_immediate(conn, be32_to_cpu(wc->ex.imm_data));
	return wc->byte_len == sizeof(msg) && wire_message(conn, &msg);
}

static void wire_received(struct ib_cq *cq, struct ib_wc *wc)
{
	struct p2pbuf_rdma_conn *conn = cq->cq_context;
	struct p2pbuf_rdma_channel *c = &conn->channel;
	u32 slot = wc->wr_cqe - c->rx_cqe;

	spin_lock(&conn->io_lock);
	if (!p2pbuf_rdma_failed(conn, wc) &&
	    conn->state != P2PBUF_RDMA_DEAD) {
		if (wire_receive(conn, wc, slot))
			p2pbuf_rdma_wire_pump(conn);
		else
			p2pbuf_rdma_conn_kill(conn, EPROTO);
	}
	spin_unlock(&conn->io_lock);
}

/* ---- what we say ----------------------------------------------------------- */

static bool wire_has_room(const struct p2pbuf_rdma_channel *c, u32 window)
{
	return c->tx_seq - c->tx_acked < window &&
	       !test_bit((c->tx_seq + 1) % P2PBUF_RDMA_WINDOW, c->tx_busy);
}

static void wire_send(struct p2pbuf_rdma_conn *conn,
		      const struct p2pbuf_rdma_msg *body)
{
	struct p2pbuf_rdma_channel *c = &conn->channel;
	u32 seq = ++c->tx_seq, slot = seq % P2PBUF_RDMA_WINDOW;
	struct p2pbuf_rdma_msg *msg = &c->tx[slot];
	struct ib_sge sge = {
		.addr = c->tx_dma + slot * sizeof(*msg),
		.length = sizeof(*msg),
		.lkey = conn->pd->local_dma_lkey,
	};
	struct ib_send_wr wr = {
		.wr_cqe = &c->tx_cqe[slot],
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IB_WR_SEND,
		.send_flags = IB_SEND_SIGNALED,
	};

	*msg = *body;
	msg->magic = cpu_to_le32(P2PBUF_RDMA_MAGIC);
	msg->version = cpu_to_le16(P2PBUF_RDMA_VERSION);
	msg->seq = cpu_to_le32(seq);
	msg->ack = cpu_to_le32(c->rx_seq);
	msg->imm_ack = cpu_to_le32(c->imm_taken);
	c->rx_told = c->rx_seq;
	c->imm_told = c->imm_taken;
	ib_dma_sync_single_for_device(conn->dev, sge.addr, sizeof(*msg),
				      DMA_TO_DEVICE);
	set_bit(slot, c->tx_busy);
	conn->counters.messages_sent++;
	if (ib_post_send(conn->qp, &wr, NULL))
		p2pbuf_rdma_conn_kill(conn, EIO);
}

/* The next thing that somebody has to say, if anybody has. */
static bool wire_next(struct p2pbuf_rdma_conn *conn,
		      struct p2pbuf_rdma_msg *msg)
{
	struct p2pbuf_rdma_channel *c = &conn->channel;
	u32 id;

	*msg = (struct p2pbuf_rdma_msg){};
	id = find_first_bit(c->say_ack, RDMA_IDS);
	if (id < RDMA_IDS) {
		clear_bit(id, c->say_ack);
		p2pbuf_rdma_remote_said_ack(conn, id, msg);
		return true;
	}
	id = find_first_bit(c->say_withdraw, RDMA_IDS);
	if (id < RDMA_IDS) {
		clear_bit(id, c->say_withdraw);
		p2pbuf_rdma_buffer_said_withdraw(conn, id, msg);
		return true;
	}
	for_each_set_bit(id, c->say_buffer, RDMA_IDS) {
		if (conn->buffers[id] &&
		    p2pbuf_rdma_buffer_say(conn->buffers[id], msg))
			return true;
		clear_bit(id, c->say_buffer);
	}
	return false;
}

/* Is a message to be sent that only acknowledges, and is there room for it? */
static bool wire_may_credit(const struct p2pbuf_rdma_channel *c)
{
	if (c->rx_seq - c->rx_told >= P2PBUF_RDMA_WINDOW / 2)
		return wire_has_room(c, P2PBUF_RDMA_WINDOW);
	return c->imm_taken - c->imm_told >= P2PBUF_RDMA_IMM_WINDOW / 2 &&
	       wire_has_room(c, P2PBUF_RDMA_WINDOW - 1);
}

/**
 * p2pbuf_rdma_wire_pump - say what there is to say and room for
 * @conn: the connection; io_lock held
 */
void p2pbuf_rdma_wire_pump(struct p2pbuf_rdma_conn *conn)
{
	struct p2pbuf_rdma_channel *c = &conn->channel;
	struct p2pbuf_rdma_msg msg;

	lockdep_assert_held(&conn->io_lock);

	while (conn->state == P2PBUF_RDMA_UP &&
	       wire_has_room(c, P2PBUF_RDMA_WINDOW - 1) &&
	       wire_next(conn, &msg))
		wire_send(conn, &msg);
	if (conn->state == P2PBUF_RDMA_UP && wire_may_credit(c)) {
		msg = (struct p2pbuf_rdma_msg){
			.type = cpu_to_le16(P2PBUF_RDMA_CREDIT),
		};
		wire_send(conn, &msg);
	}
}

void p2pbuf_rdma_wire_init(struct p2pbuf_rdma_conn *conn)
{
	struct p2pbuf_rdma_channel *c = &conn->channel;
	u32 slot;

	for (slot = 0; slot < P2PBUF_RDMA_WINDOW; slot++)
		c->tx_cqe[slot].done = wire_sent;
	for (slot = 0; slot < RDMA_RX; slot++)
		c->rx_cqe[slot].done = wire_received;
}

static int wire_map(struct p2pbuf_rdma_conn *conn, void *messages, size_t bytes,
		    enum dma_data_direction dir, u64 *out)
{
	u64 dma;

	if (!messages)
		return -ENOMEM;
	dma = ib_dma_map_single(conn->dev, messages, bytes, dir);
	if (ib_dma_mapping_error(conn->dev, dma))
		return -ENOMEM;
	*out = dma;
	return 0;
}

/* Ready to receive. What was allocated goes with the queues. */
int p2pbuf_rdma_wire_start(struct p2pbuf_rdma_conn *conn)
{
	struct p2pbuf_rdma_channel *c = &conn->channel;
	u32 slot;
	int ret;

	c->tx = kcalloc(P2PBUF_RDMA_WINDOW, sizeof(*c->tx), GFP_KERNEL_ACCOUNT);
	ret = wire_map(conn, c->tx, P2PBUF_RDMA_WINDOW * sizeof(*c->tx),
		       DMA_TO_DEVICE, &c->tx_dma);
	if (ret)
		return ret;
	c->rx = kcalloc(RDMA_RX, sizeof(*c->rx), GFP_KERNEL_ACCOUNT);
	ret = wire_map(conn, c->rx, RDMA_RX * sizeof(*c->rx), DMA_FROM_DEVICE,
		       &c->rx_dma);
	for (slot = 0; slot < RDMA_RX && !ret; slot++)
		ret = wire_post_receive(conn, slot);
	return ret;
}
