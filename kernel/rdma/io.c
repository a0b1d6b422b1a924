// SPDX-License-Identifier: GPL-2.0
/*
 * Io: one command, from the SQE to the CQE.
 *
 * A request is cut into pieces where a segment ends, on either side, and at
 * RDMA_PIECE_BYTES; a piece is one work request. It is on one of these lists:
 *
 *	ready		waits for room in the send queue; served in order
 *	parked		waits for a local buffer to be registered, for a
 *			grant, or for the peer to take immediate data
 *	(none)		all its pieces are posted, or it has failed; it ends
 *			with the last piece
 *
 * Whatever changes what parked requests wait for makes all of them ready, and
 * the pump looks at each again. A request may be parked between two of its
 * pieces: those that were posted are not posted again. Its time runs from when
 * it is parked until what it waits for is there, and anew when that has gone
 * before it was its turn.
 *
 * No request sleeps, so io_uring never needs a worker. A request that is on
 * a list can be cancelled, by the end of its ring or by P2PBUF_RDMA_CANCEL; one
 * whose pieces are under way ends with them. How long the transport tries is
 * the peer's choice too, and may be for ever. So when no piece has ended for
 * three times wait_ms (RDMA_STALL_MS at least) the connection is killed:
 * otherwise exec() of a process would never return, and a dead one's requests
 * would keep the file, and what is granted on it, for ever.
 *
 * Who may free a request: task work, which runs under the ring's lock as
 * cancelling does, so that a command that is being cancelled has its request.
 */
#include <linux/delay.h>
#include <linux/slab.h>
#include "rdma.h"

/* Outcome of an attempt to post; else an errno. */
#define IO_POSTED	0
#define IO_NO_ROOM	1
#define IO_PARK		2

/**
 * struct p2pbuf_rdma_req - a command on its way
 * @ioucmd: io_uring's, which has a pointer to this in its pdu
 * @conn: the connection
 * @cmd: the command, read once
 * @op: P2PBUF_RDMA_URING_*
 * @user_data: what its CQE will be known by
 * @conn_node: on conn->requests until it completes
 * @node: on one of the lists above, or empty
 * @cqe: of all its pieces
 * @done: bytes that were posted
 * @pending: pieces under way
 * @res: first error
 * @held: being submitted, not to be completed by a piece
 * @was_parked: counted as parked
 * @waiting: what it was parked for has not been there since
 * @deadline: jiffies until which it may be, if so
 */
struct p2pbuf_rdma_req {
	struct io_uring_cmd *ioucmd;
	struct p2pbuf_rdma_conn *conn;
	struct p2pbuf_rdma_cmd cmd;
	u32 op;
	u64 user_data;
	struct list_head conn_node;
	struct list_head node;
	struct ib_cqe cqe;
	u64 done;
	u32 pending;
	int res;
	bool held;
	bool was_parked;
	bool waiting;
	unsigned long deadline;
};

struct io_pdu {
	struct p2pbuf_rdma_req *req;
};

static bool io_has_buffer(const struct p2pbuf_rdma_req *req)
{
	return req->op != P2PBUF_RDMA_URING_FLUSH;
}

/* FLUSH reads one byte. */
static u64 io_length(const struct p2pbuf_rdma_req *req)
{
	return io_has_buffer(req) ? req->cmd.length : 1;
}

static bool io_reads(const struct p2pbuf_rdma_req *req)
{
	return req->op == P2PBUF_RDMA_URING_READ ||
	       req->op == P2PBUF_RDMA_URING_FLUSH;
}

/* ---- the end of a request -------------------------------------------------- */

static void io_task_work(struct io_tw_req tw_req, io_tw_token_t tw)
{
	struct io_uring_cmd *ioucmd = io_uring_cmd_from_tw(tw_req);
	struct p2pbuf_rdma_req *req =
		io_uring_cmd_to_pdu(ioucmd, struct io_pdu)->req;
	s32 res = req->res;

	kfree(req);
	io_uring_cmd_done(ioucmd, res, IO_URING_CMD_TASK_WORK_ISSUE_FLAGS);
}

static void io_complete(struct p2pbuf_rdma_req *req)
{
	struct p2pbuf_rdma_counters *c = &req->conn->counters;

	list_del(&req->conn_node);
	if (req->res < 0) {
		c->errors++;
	} else if (req->op != P2PBUF_RDMA_URING_RECV) {
		if (req->op == P2PBUF_RDMA_URING_READ)
			c->reads++;
		else if (io_has_buffer(req))
			c->writes++;
		if (io_has_buffer(req)) {
			c->bytes += req->cmd.length;
			req->res = req->cmd.length;
		}
	}
	io_uring_cmd_complete_in_task(req->ioucmd, io_task_work);
}

/* Off its list; it ends now, or with the last piece under way. */
static void io_finish(struct p2pbuf_rdma_req *req, int error)
{
	lockdep_assert_held(&req->conn->io_lock);

	list_del_init(&req->node);
	if (error && !req->res)
		req->res = error;
	if (!req->pending)
		io_complete(req);
}

static void io_fail_list(struct list_head *list, int error)
{
	struct p2pbuf_rdma_req *req, *next;

	list_for_each_entry_safe(req, next, list, node)
		io_finish(req, error);
}

/* The connection is dead and drained; io_lock held. */
void p2pbuf_rdma_io_fail_all(struct p2pbuf_rdma_conn *conn, int error)
{
	lockdep_assert_held(&conn->io_lock);

	io_fail_list(&conn->ready, error);
	io_fail_list(&conn->parked, error);
	io_fail_list(&conn->receivers, error);
}

/* Those that need our buffer @id and have not got it; io_lock held. */
void p2pbuf_rdma_io_fail_local(struct p2pbuf_rdma_conn *conn, u32 id, int error)
{
	struct p2pbuf_rdma_req *req, *next;

	lockdep_assert_held(&conn->io_lock);

	list_splice_tail_init(&conn->parked, &conn->ready);
	list_for_each_entry_safe(req, next, &conn->ready, node)
		if (io_has_buffer(req) && req->cmd.local_id == id)
			io_finish(req, error);
	p2pbuf_rdma_io_pump(conn);
}

/* A piece has ended. */
static void io_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct p2pbuf_rdma_conn *conn = cq->cq_context;
	struct p2pbuf_rdma_req *req =
		container_of(wc->wr_cqe, struct p2pbuf_rdma_req, cqe);
	u32 remote_id = req->cmd.remote_id;
	struct p2pbuf_rdma_buffer *b;

	spin_lock(&conn->io_lock);
	/* Pieces of one queue pair end in the order they were posted in. */
	conn->sq_bytes -= conn->sq_lengths[conn->sq_ended++ % RDMA_SQ_PIECES];
	conn->last_done = jiffies;
	req->pending--;
	if (p2pbuf_rdma_failed(conn, wc) && !req->res)
		req->res = p2pbuf_rdma_wc_errno(wc);
	if (io_has_buffer(req)) {
		b = conn->buffers[req->cmd.local_id];
		/* The mapping lasts until the buffer has nothing under way. */
		if (!req->pending && req->cmd.flags & P2PBUF_RDMA_FLUSH)
			p2pbuf_mapping_flush(b->mapping);
		b->inflight--;
	}
	conn->remotes[remote_id].inflight--;
	/* Before the lists are served: what is on one of them is not over. */
	if (!req->pending && !req->held && list_empty(&req->node))
		io_complete(req);
	/* From here on @req may be gone. */
	p2pbuf_rdma_remote_ack(conn, remote_id);
	p2pbuf_rdma_io_pump(conn);
	spin_unlock(&conn->io_lock);
}

/* ---- pieces ---------------------------------------------------------------- */

static int io_check_local(struct p2pbuf_rdma_conn *conn,
			  const struct p2pbuf_rdma_req *req)
{
	const struct p2pbuf_rdma_cmd *cmd = &req->cmd;
	struct p2pbuf_rdma_buffer *b = NULL;
	u32 right = io_reads(req) ? P2PBUF_RDMA_RIGHT_WRITE :
				    P2PBUF_RDMA_RIGHT_READ;

	if (p2pbuf_rdma_id_ok(cmd->local_id))
		b = conn->buffers[cmd->local_id];
	if (!b || b->dying)
		return -ENOENT;
	if (cmd->length > b->length ||
	    cmd->local_offset > b->length - cmd->length)
		return -ERANGE;
	return b->rights & right ? 0 : -EACCES;
}

static int io_check_remote(const struct p2pbuf_rdma_remote *r,
			   const struct p2pbuf_rdma_req *req)
{
	u32 right = io_reads(req) ? P2PBUF_RDMA_RIGHT_READ :
				    P2PBUF_RDMA_RIGHT_WRITE;

	if (r->state == RDMA_REMOTE_GONE)
		return -EACCES;
	if (r->state != RDMA_REMOTE_GRANTED)
		return IO_PARK;
	if (req->cmd.epoch && req->cmd.epoch != r->epoch)
		return -ESTALE;
	if (!(r->rights & right))
		return -EACCES;
	if (io_length(req) > r->length ||
	    req->cmd.remote_offset > r->length - io_length(req))
		return -ERANGE;
	return 0;
}

/* Is what it needs there, but for room? 0 if so, IO_PARK if not. */
static int io_look(struct p2pbuf_rdma_conn *conn,
		   const struct p2pbuf_rdma_req *req)
{
	struct p2pbuf_rdma_buffer *b;
	int ret;

	if (conn->state != P2PBUF_RDMA_UP)
		return p2pbuf_rdma_conn_error(conn);
	if (io_has_buffer(req)) {
		ret = io_check_local(conn, req);
		if (ret)
			return ret;
	}
	ret = io_check_remote(&conn->remotes[req->cmd.remote_id], req);
	if (ret)
		return ret;
	if (io_has_buffer(req)) {
		b = conn->buffers[req->cmd.local_id];
		p2pbuf_rdma_buffer_want(b);
		if (b->phase != RDMA_VALID)
			return IO_PARK;
	}
	return 0;
}

/* May a piece of it be posted now? 0 if so. */
static int io_may_post(struct p2pbuf_rdma_conn *conn,
		       const struct p2pbuf_rdma_req *req)
{
	int ret = io_look(conn, req);

	if (ret)
		return ret;
	if (conn->sq_begun - conn->sq_ended >= RDMA_SQ_PIECES ||
	    conn->sq_bytes >= RDMA_SQ_BYTES)
		return IO_NO_ROOM;
	return 0;
}

/* Bytes from @offset on that one key covers. */
static u64 io_reach(u64 offset, u32 shift)
{
	return BIT_ULL(shift) - (offset & (BIT_ULL(shift) - 1));
}

struct io_piece {
	struct ib_rdma_wr wr;
	struct ib_sge sge;
};

static void io_local_part(struct p2pbuf_rdma_conn *conn,
			  const struct p2pbuf_rdma_req *req, struct io_piece *p)
{
	struct p2pbuf_rdma_buffer *b;
	u64 offset;

	if (!io_has_buffer(req)) {
		p->sge.addr = conn->flush_dma;
		p->sge.lkey = conn->pd->local_dma_lkey;
		return;
	}
	b = conn->buffers[req->cmd.local_id];
	offset = req->cmd.local_offset + req->done;
	p->sge.addr = p2pbuf_rdma_iova(b->id, offset);
	p->sge.lkey = b->mrs[offset >> b->shift]->lkey;
	p->sge.length = min(p->sge.length, io_reach(offset, b->shift));
}

static void io_remote_part(struct p2pbuf_rdma_conn *conn,
			   const struct p2pbuf_rdma_req *req,
			   struct io_piece *p)
{
	const struct p2pbuf_rdma_remote *r =
		&conn->remotes[req->cmd.remote_id];
	u64 offset = req->cmd.remote_offset + req->done;

	p->wr.remote_addr = p2pbuf_rdma_iova(req->cmd.remote_id, offset);
	p->wr.rkey = r->keys[offset >> r->shift];
	p->sge.length = min(p->sge.length, io_reach(offset, r->shift));
}

static bool io_has_credit(const struct p2pbuf_rdma_channel *c)
{
	return c->imm_sent - c->imm_acked < P2PBUF_RDMA_IMM_WINDOW;
}

/* IO_PARK when it is the last piece and the peer has no place for its data. */
static int io_choose_opcode(struct p2pbuf_rdma_conn *conn,
			    struct p2pbuf_rdma_req *req, struct io_piece *p)
{
	struct p2pbuf_rdma_channel *c = &conn->channel;

	if (io_reads(req)) {
		p->wr.wr.opcode = IB_WR_RDMA_READ;
		return 0;
	}
	p->wr.wr.opcode = IB_WR_RDMA_WRITE;
	if (req->op != P2PBUF_RDMA_URING_WRITE_IMM ||
	    req->done + p->sge.length < req->cmd.length)
		return 0;
	if (!io_has_credit(c))
		return IO_PARK;
	c->imm_sent++;
	p->wr.wr.opcode = IB_WR_RDMA_WRITE_WITH_IMM;
	p->wr.wr.ex.imm_data = cpu_to_be32(req->cmd.imm);
	return 0;
}

/* At most a quarter late. */
static void io_expect_expiry(struct p2pbuf_rdma_conn *conn)
{
	queue_delayed_work(p2pbuf_rdma_map_wq, &conn->expire_work,
			   msecs_to_jiffies(conn->limits.wait_ms) / 4 + 1);
}

/* A piece was posted. */
static void io_begun(struct p2pbuf_rdma_conn *conn, u32 bytes)
{
	if (conn->sq_begun == conn->sq_ended) {
		conn->last_done = jiffies;
		io_expect_expiry(conn);
	}
	conn->sq_lengths[conn->sq_begun++ % RDMA_SQ_PIECES] = bytes;
	conn->sq_bytes += bytes;
}

/* All that has to hold does: post the next piece. */
static int io_post(struct p2pbuf_rdma_conn *conn, struct p2pbuf_rdma_req *req)
{
	struct io_piece p = {};
	int ret;

	p.sge.length = min_t(u64, io_length(req) - req->done, RDMA_PIECE_BYTES);
	p.wr.wr.wr_cqe = &req->cqe;
	p.wr.wr.sg_list = &p.sge;
	p.wr.wr.num_sge = 1;
	p.wr.wr.send_flags = IB_SEND_SIGNALED;
	io_local_part(conn, req, &p);
	io_remote_part(conn, req, &p);
	ret = io_choose_opcode(conn, req, &p);
	if (ret)
		return ret;
	ret = ib_post_send(conn->qp, &p.wr.wr, NULL);
	if (ret) {
		p2pbuf_rdma_conn_kill(conn, EIO);
		return -EIO;
	}
	if (io_has_buffer(req))
		conn->buffers[req->cmd.local_id]->inflight++;
	conn->remotes[req->cmd.remote_id].inflight++;
	io_begun(conn, p.sge.length);
	req->pending++;
	req->waiting = false;
	req->done += p.sge.length;
	return 0;
}

/* As far as it gets. IO_POSTED when all of it is on its way. */
static int io_try(struct p2pbuf_rdma_conn *conn, struct p2pbuf_rdma_req *req)
{
	int ret;

	lockdep_assert_held(&conn->io_lock);

	do {
		ret = io_may_post(conn, req);
		if (!ret)
			ret = io_post(conn, req);
	} while (!ret && req->done < io_length(req));
	return ret;
}

static void io_park(struct p2pbuf_rdma_conn *conn, struct p2pbuf_rdma_req *req)
{
	list_move_tail(&req->node, &conn->parked);
	if (!req->was_parked)
		conn->counters.parkings++;
	req->was_parked = true;
	if (!req->waiting)
		req->deadline = jiffies +
				msecs_to_jiffies(conn->limits.wait_ms);
	req->waiting = true;
	io_expect_expiry(conn);
}

/**
 * p2pbuf_rdma_io_pump - post what is ready
 * @conn: the connection; io_lock held
 */
void p2pbuf_rdma_io_pump(struct p2pbuf_rdma_conn *conn)
{
	struct p2pbuf_rdma_req *req;
	int ret;

	lockdep_assert_held(&conn->io_lock);

	while ((req = list_first_entry_or_null(&conn->ready,
					       struct p2pbuf_rdma_req, node))) {
		/* What waits for a dead connection's drain ends after it. */
		if (conn->state == P2PBUF_RDMA_DEAD && !conn->drained)
			break;
		ret = io_try(conn, req);
		if (ret == IO_NO_ROOM)
			break;
		if (ret == IO_PARK)
			io_park(conn, req);
		else
			io_finish(req, ret);
	}
}

/* It waits no longer, although it may take long until there is room for it. */
static bool io_has_waited(struct p2pbuf_rdma_conn *conn,
			  const struct p2pbuf_rdma_req *req)
{
	return io_look(conn, req) != IO_PARK &&
	       (req->op != P2PBUF_RDMA_URING_WRITE_IMM ||
		io_has_credit(&conn->channel));
}

/* What parked requests wait for has changed; io_lock held. */
void p2pbuf_rdma_io_unpark(struct p2pbuf_rdma_conn *conn)
{
	struct p2pbuf_rdma_req *req;

	lockdep_assert_held(&conn->io_lock);

	list_for_each_entry(req, &conn->parked, node)
		if (io_has_waited(conn, req))
			req->waiting = false;
	list_splice_tail_init(&conn->parked, &conn->ready);
	p2pbuf_rdma_io_pump(conn);
}

static bool io_under_way(const struct p2pbuf_rdma_conn *conn)
{
	return conn->state == P2PBUF_RDMA_UP &&
	       conn->sq_begun != conn->sq_ended;
}

/* There are pieces under way, and none of them ends. */
static bool io_is_stuck(const struct p2pbuf_rdma_conn *conn)
{
	u64 ms = max_t(u64, 3ull * conn->limits.wait_ms, RDMA_STALL_MS);
	unsigned long limit = msecs_to_jiffies(min_t(u64, ms, U32_MAX));

	return io_under_way(conn) &&
	       time_after(jiffies, conn->last_done + limit);
}

/* Their pieces end when the queue is drained. */
static void io_give_up(struct p2pbuf_rdma_conn *conn)
{
	struct p2pbuf_rdma_req *req;

	list_for_each_entry(req, &conn->requests, conn_node)
		if (req->pending && !req->res)
			req->res = -ETIMEDOUT;
	p2pbuf_rdma_conn_kill(conn, ETIMEDOUT);
}

/* Requests that were parked for too long, and pieces that do not end. */
void p2pbuf_rdma_io_expire(struct work_struct *work)
{
	struct p2pbuf_rdma_conn *conn =
		container_of(to_delayed_work(work), struct p2pbuf_rdma_conn,
			     expire_work);
	struct p2pbuf_rdma_req *req, *next;

	spin_lock(&conn->io_lock);
	list_for_each_entry_safe(req, next, &conn->parked, node)
		if (time_after(jiffies, req->deadline))
			io_finish(req, -ETIMEDOUT);
	if (io_is_stuck(conn))
		io_give_up(conn);
	if (!list_empty(&conn->parked) || io_under_way(conn))
		io_expect_expiry(conn);
	spin_unlock(&conn->io_lock);
}

/* ---- immediate data -------------------------------------------------------- */

/* What the peer's device wrote is in the exporters' devices. */
static void io_flush_granted(struct p2pbuf_rdma_conn *conn)
{
	struct p2pbuf_rdma_buffer *b;
	u32 id;

	for (id = 1; id < RDMA_IDS; id++) {
		b = conn->buffers[id];
		if (b && b->mapping && b->access & IB_ACCESS_REMOTE_WRITE)
			p2pbuf_mapping_flush(b->mapping);
	}
}

/* Give immediate data to those that wait for it; io_lock held. */
void p2pbuf_rdma_io_imm(struct p2pbuf_rdma_conn *conn)
{
	struct p2pbuf_rdma_channel *c = &conn->channel;
	struct p2pbuf_rdma_req *req;

	lockdep_assert_held(&conn->io_lock);

	if (c->imm_taken != c->imm_seen && !list_empty(&conn->receivers))
		io_flush_granted(conn);
	while (c->imm_taken != c->imm_seen) {
		req = list_first_entry_or_null(&conn->receivers,
					       struct p2pbuf_rdma_req, node);
		if (!req)
			break;
		req->res = c->imm[c->imm_taken++ % P2PBUF_RDMA_IMM_WINDOW];
		io_finish(req, 0);
	}
	/* What was taken may be enough to be told of. */
	p2pbuf_rdma_wire_pump(conn);
}

/* ---- submission ------------------------------------------------------------ */

static int io_parse_cmd(struct io_uring_cmd *ioucmd,
			struct p2pbuf_rdma_cmd *cmd)
{
	const struct io_uring_sqe *sqe = ioucmd->sqe;
	const struct p2pbuf_rdma_cmd *from =
		io_uring_sqe128_cmd(sqe, struct p2pbuf_rdma_cmd);

	/* Shared with user space: each field is read once. */
	cmd->local_id = READ_ONCE(from->local_id);
	cmd->remote_id = READ_ONCE(from->remote_id);
	cmd->local_offset = READ_ONCE(from->local_offset);
	cmd->remote_offset = READ_ONCE(from->remote_offset);
	cmd->length = READ_ONCE(from->length);
	cmd->flags = READ_ONCE(from->flags);
	cmd->imm = READ_ONCE(from->imm);
	cmd->epoch = READ_ONCE(from->epoch);
	/* Fields we have no use for; io_uring looks at the others. */
	if (READ_ONCE(sqe->addr) | READ_ONCE(sqe->len) |
	    READ_ONCE(sqe->buf_index) | READ_ONCE(sqe->splice_fd_in) |
	    (ioucmd->flags & IORING_URING_CMD_MASK))
		return -EINVAL;
	return 0;
}

static bool io_cmd_ok(u32 op, const struct p2pbuf_rdma_cmd *cmd)
{
	bool imm = cmd->imm >> P2PBUF_RDMA_IMM_BITS;
	u32 flags = 0;

	switch (op) {
	case P2PBUF_RDMA_URING_READ:
		flags = P2PBUF_RDMA_FLUSH;
		fallthrough;
	case P2PBUF_RDMA_URING_WRITE:
		imm = cmd->imm;
		fallthrough;
	case P2PBUF_RDMA_URING_WRITE_IMM:
		return !imm && !(cmd->flags & ~flags);
	case P2PBUF_RDMA_URING_FLUSH:
		return !cmd->local_id && !cmd->local_offset && !cmd->length &&
		       !cmd->flags && !cmd->imm;
	case P2PBUF_RDMA_URING_RECV:
		return !memchr_inv(cmd, 0, sizeof(*cmd));
	default:
		return false;
	}
}

/* What can be said without the connection. */
static int io_parse(struct io_uring_cmd *ioucmd, struct p2pbuf_rdma_cmd *cmd)
{
	u32 op = ioucmd->cmd_op;
	int ret;

	ret = io_parse_cmd(ioucmd, cmd);
	if (ret)
		return ret;
	if (!io_cmd_ok(op, cmd))
		return -EINVAL;
	if (op == P2PBUF_RDMA_URING_RECV)
		return 0;
	if (!p2pbuf_rdma_id_ok(cmd->remote_id))
		return -ENOENT;
	if (op != P2PBUF_RDMA_URING_FLUSH &&
	    (!cmd->length || cmd->length > P2PBUF_RDMA_MAX_LENGTH))
		return -EDOM;
	return 0;
}

/* True when it is over, or all of it is on its way. */
static bool io_begin(struct p2pbuf_rdma_conn *conn,
		     struct p2pbuf_rdma_req *req, int *ret)
{
	lockdep_assert_held(&conn->io_lock);

	*ret = IO_PARK;
	if (conn->state != P2PBUF_RDMA_UP)
		*ret = p2pbuf_rdma_conn_error(conn);
	else if (req->op != P2PBUF_RDMA_URING_RECV && list_empty(&conn->ready))
		*ret = io_try(conn, req);
	return *ret == IO_POSTED || *ret < 0;
}

/* The part that may be cancelled: onto a list, and see how far it gets. */
static void io_enlist(struct p2pbuf_rdma_conn *conn,
		      struct p2pbuf_rdma_req *req)
{
	spin_lock(&conn->io_lock);
	req->held = false;
	if (req->res) {
		/* Cancelled, or a piece has failed. */
		io_finish(req, 0);
	} else if (conn->state != P2PBUF_RDMA_UP && conn->drained) {
		io_finish(req, p2pbuf_rdma_conn_error(conn));
	} else if (req->op == P2PBUF_RDMA_URING_RECV) {
		list_add_tail(&req->node, &conn->receivers);
		p2pbuf_rdma_io_imm(conn);
	} else {
		list_add_tail(&req->node, &conn->ready);
		p2pbuf_rdma_io_pump(conn);
	}
	spin_unlock(&conn->io_lock);
}

static int io_submit(struct io_uring_cmd *ioucmd, unsigned int issue_flags,
		     const struct p2pbuf_rdma_cmd *cmd)
{
	struct p2pbuf_rdma_conn *conn = ioucmd->file->private_data;
	struct p2pbuf_rdma_req *req;
	bool begun;
	int ret;

	req = kzalloc_obj(*req, GFP_KERNEL_ACCOUNT);
	if (!req)
		return -ENOMEM;
	req->ioucmd = ioucmd;
	req->conn = conn;
	req->cmd = *cmd;
	req->op = ioucmd->cmd_op;
	/* Shared as well: who changes it now only misleads himself. */
	req->user_data = READ_ONCE(ioucmd->sqe->user_data);
	req->cqe.done = io_done;
	req->held = true;
	INIT_LIST_HEAD(&req->node);
	io_uring_cmd_to_pdu(ioucmd, struct io_pdu)->req = req;
	spin_lock(&conn->io_lock);
	begun = io_begin(conn, req, &ret);
	req->held = !begun;
	/* What was posted reports the error itself. */
	if (begun && ret < 0 && req->pending) {
		req->res = ret;
		ret = IO_POSTED;
	}
	if (!begun || ret == IO_POSTED)
		list_add_tail(&req->conn_node, &conn->requests);
	spin_unlock(&conn->io_lock);
	if (begun && ret < 0) {
		kfree(req);
		return ret;
	}
	if (!begun) {
		/* Takes the ring's lock, so not under ours. */
		io_uring_cmd_mark_cancelable(ioucmd, issue_flags);
		io_enlist(conn, req);
	}
	return -EIOCBQUEUED;
}

/*
 * The ring's lock is held. What has pieces under way is not ours to end, and
 * io_uring asks again at once, for as long as they are: seconds, if the peer is
 * deaf. So each answer takes a moment.
 */
static void io_cancel(struct io_uring_cmd *ioucmd, unsigned int issue_flags)
{
	struct p2pbuf_rdma_req *req =
		io_uring_cmd_to_pdu(ioucmd, struct io_pdu)->req;
	struct p2pbuf_rdma_conn *conn = req->conn;
	bool ours, under_way;

	spin_lock(&conn->io_lock);
	under_way = req->pending;
	ours = !list_empty(&req->node) && !under_way;
	if (ours) {
		list_del_init(&req->node);
		list_del(&req->conn_node);
	} else if (!list_empty(&req->node)) {
		io_finish(req, -ECANCELED);
	}
	spin_unlock(&conn->io_lock);
	if (under_way)
		usleep_range(500, 1000);
	if (!ours)
		return;
	kfree(req);
	io_uring_cmd_done(ioucmd, -ECANCELED, issue_flags);
}

/* May it still be kept from having more pieces? */
static bool io_cancelable(const struct p2pbuf_rdma_req *req)
{
	return req->held || !list_empty(&req->node);
}

/**
 * p2pbuf_rdma_io_cancel - end a request before all of it is on its way
 * @conn: the connection
 * @user_data: of the request
 *
 * Return: 0, its CQE will say ECANCELED; -ENOENT; -EALREADY.
 */
int p2pbuf_rdma_io_cancel(struct p2pbuf_rdma_conn *conn, u64 user_data)
{
	struct p2pbuf_rdma_req *req;
	int ret = -ENOENT;

	spin_lock(&conn->io_lock);
	list_for_each_entry(req, &conn->requests, conn_node) {
		if (req->user_data != user_data)
			continue;
		/* What has failed already only waits for its pieces. */
		ret = -EALREADY;
		if (!io_cancelable(req) || req->res)
			continue;
		ret = 0;
		/* It is about to be enlisted, and is ended there. */
		if (req->held)
			req->res = -ECANCELED;
		else
			io_finish(req, -ECANCELED);
		break;
	}
	spin_unlock(&conn->io_lock);
	return ret;
}

/**
 * p2pbuf_rdma_uring_cmd - IORING_OP_URING_CMD on the node
 * @ioucmd: the command
 * @issue_flags: as io_uring gives them
 *
 * Return: -EIOCBQUEUED when the CQE will come, else the errno for it.
 */
int p2pbuf_rdma_uring_cmd(struct io_uring_cmd *ioucmd, unsigned int issue_flags)
{
	struct p2pbuf_rdma_cmd cmd;
	int ret;

	if (issue_flags & IO_URING_F_CANCEL) {
		io_cancel(ioucmd, issue_flags);
		return 0;
	}
	if (!(issue_flags & IO_URING_F_SQE128))
		return -EINVAL;
	ret = io_parse(ioucmd, &cmd);
	return ret ?: io_submit(ioucmd, issue_flags, &cmd);
}
