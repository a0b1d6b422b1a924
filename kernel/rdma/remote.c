// SPDX-License-Identifier: GPL-2.0
/*
 * Remote: what the peer granted, and gives only for a time.
 *
 *	NONE --first key--> PARTIAL --last key--> GRANTED
 *	PARTIAL, GRANTED --recall--> RECALLED --last piece ended, ACK--> NONE
 *	                                  or, if it was for good, --> GONE
 *	NONE, GONE --withdraw--> GONE
 *	NONE, GONE --first key of a later epoch--> PARTIAL
 *
 * Requests wait while it is NONE, PARTIAL or RECALLED, and fail when it is
 * GONE. A recall is acknowledged by the completion of the last piece itself,
 * so user space has no part in it. Keys are numbers that the peer's device
 * understands; a forged one harms nobody but the peer.
 */
#include "rdma.h"

static struct p2pbuf_rdma_remote *remote_get(struct p2pbuf_rdma_conn *conn,
					     u32 id)
{
	lockdep_assert_held(&conn->io_lock);

	return &conn->remotes[id];
}

/**
 * p2pbuf_rdma_remote_ack - a recalled lease has no piece under way any more
 * @conn: the connection; io_lock held
 * @id: the peer's buffer
 */
void p2pbuf_rdma_remote_ack(struct p2pbuf_rdma_conn *conn, u32 id)
{
	struct p2pbuf_rdma_remote *r = remote_get(conn, id);

	if (r->state != RDMA_REMOTE_RECALLED || r->inflight)
		return;
	r->state = r->for_good ? RDMA_REMOTE_GONE : RDMA_REMOTE_NONE;
	set_bit(id, conn->channel.say_ack);
	if (r->for_good)
		p2pbuf_rdma_io_unpark(conn);
	p2pbuf_rdma_wire_pump(conn);
	wake_up_all(&conn->wait);
}

void p2pbuf_rdma_remote_said_ack(struct p2pbuf_rdma_conn *conn, u32 id,
				 struct p2pbuf_rdma_msg *msg)
{
	msg->type = cpu_to_le16(P2PBUF_RDMA_RECALL_ACK);
	msg->id = cpu_to_le32(id);
	msg->epoch = cpu_to_le64(remote_get(conn, id)->epoch);
}

/* Of a buffer that its owner described; at most P2PBUF_RDMA_MAX_SEGMENTS. */
static u64 remote_keys(const struct p2pbuf_rdma_remote *r)
{
	return DIV_ROUND_UP_ULL(r->length, BIT_ULL(r->shift));
}

static bool remote_begin_ok(const struct p2pbuf_rdma_remote *r,
			    const struct p2pbuf_rdma_msg *msg)
{
	u64 length = le64_to_cpu(msg->length);

	return (r->state == RDMA_REMOTE_NONE || r->state == RDMA_REMOTE_GONE) &&
	       le64_to_cpu(msg->epoch) > r->epoch && !msg->segment &&
	       msg->shift >= PAGE_SHIFT && msg->shift <= 30 &&
	       msg->rights && !(msg->rights & ~RDMA_RIGHTS) &&
	       length && IS_ALIGNED(length, PAGE_SIZE) &&
	       length <= (u64)P2PBUF_RDMA_MAX_SEGMENTS << msg->shift &&
	       length <= BIT_ULL(P2PBUF_RDMA_IOVA_SHIFT);
}

static bool remote_goes_on(const struct p2pbuf_rdma_remote *r,
			   const struct p2pbuf_rdma_msg *msg)
{
	return r->state == RDMA_REMOTE_PARTIAL &&
	       le64_to_cpu(msg->epoch) == r->epoch &&
	       le64_to_cpu(msg->length) == r->length &&
	       le32_to_cpu(msg->segment) == r->have &&
	       msg->shift == r->shift && msg->rights == r->rights;
}

static bool remote_grant(struct p2pbuf_rdma_conn *conn,
			 struct p2pbuf_rdma_remote *r,
			 const struct p2pbuf_rdma_msg *msg)
{
	u32 i;

	if (remote_begin_ok(r, msg)) {
		r->state = RDMA_REMOTE_PARTIAL;
		r->for_good = false;
		r->have = 0;
		r->epoch = le64_to_cpu(msg->epoch);
		r->length = le64_to_cpu(msg->length);
		r->shift = msg->shift;
		r->rights = msg->rights;
	} else if (!remote_goes_on(r, msg)) {
		return false;
	}
	if (!msg->count || msg->count > P2PBUF_RDMA_KEYS ||
	    msg->count > remote_keys(r) - r->have)
		return false;
	for (i = 0; i < P2PBUF_RDMA_KEYS; i++) {
		if (i < msg->count)
			r->keys[r->have++] = le32_to_cpu(msg->keys[i]);
		else if (msg->keys[i])
			return false;
	}
	if (r->have < remote_keys(r))
		return true;
	r->state = RDMA_REMOTE_GRANTED;
	conn->counters.grants_received++;
	p2pbuf_rdma_io_unpark(conn);
	wake_up_all(&conn->wait);
	return true;
}

static bool remote_recall(struct p2pbuf_rdma_conn *conn, u32 id,
			  const struct p2pbuf_rdma_msg *msg)
{
	struct p2pbuf_rdma_remote *r = remote_get(conn, id);

	if ((r->state != RDMA_REMOTE_PARTIAL &&
	     r->state != RDMA_REMOTE_GRANTED) ||
	    le64_to_cpu(msg->epoch) != r->epoch)
		return false;
	r->state = RDMA_REMOTE_RECALLED;
	r->for_good = msg->flags & P2PBUF_RDMA_FOR_GOOD;
	conn->counters.recalls_received++;
	p2pbuf_rdma_remote_ack(conn, id);
	return true;
}

static bool remote_withdraw(struct p2pbuf_rdma_conn *conn, u32 id,
			    const struct p2pbuf_rdma_msg *msg)
{
	struct p2pbuf_rdma_remote *r = remote_get(conn, id);

	if ((r->state != RDMA_REMOTE_NONE && r->state != RDMA_REMOTE_GONE) ||
	    le64_to_cpu(msg->epoch) < r->epoch)
		return false;
	r->state = RDMA_REMOTE_GONE;
	r->epoch = le64_to_cpu(msg->epoch);
	p2pbuf_rdma_io_unpark(conn);
	wake_up_all(&conn->wait);
	return true;
}

/**
 * p2pbuf_rdma_remote_message - the peer speaks of a buffer of its own
 * @conn: the connection; io_lock held
 * @msg: head, unused fields and id are checked
 *
 * Return: false when the peer may not say that now.
 */
bool p2pbuf_rdma_remote_message(struct p2pbuf_rdma_conn *conn,
				const struct p2pbuf_rdma_msg *msg)
{
	u32 id = le32_to_cpu(msg->id);

	switch (le16_to_cpu(msg->type)) {
	case P2PBUF_RDMA_GRANT_LEASE:
		return remote_grant(conn, remote_get(conn, id), msg);
	case P2PBUF_RDMA_RECALL_LEASE:
		return remote_recall(conn, id, msg);
	case P2PBUF_RDMA_WITHDRAW:
		return remote_withdraw(conn, id, msg);
	default:
		return false;
	}
}

/* -EAGAIN while it may still be granted. */
static int remote_look(struct p2pbuf_rdma_conn *conn,
		       struct p2pbuf_rdma_remote_info *info)
{
	struct p2pbuf_rdma_remote *r;
	int ret = 0;

	spin_lock(&conn->io_lock);
	r = remote_get(conn, info->id);
	if (conn->state != P2PBUF_RDMA_UP) {
		ret = p2pbuf_rdma_conn_error(conn);
	} else if (r->state == RDMA_REMOTE_GONE) {
		ret = -EACCES;
	} else if (r->state != RDMA_REMOTE_GRANTED) {
		ret = -EAGAIN;
	} else {
		info->rights = r->rights;
		info->length = r->length;
		info->epoch = r->epoch;
	}
	spin_unlock(&conn->io_lock);
	return ret;
}

static bool remote_known(struct p2pbuf_rdma_conn *conn,
			 struct p2pbuf_rdma_remote_info *info, int *ret)
{
	*ret = remote_look(conn, info);
	return *ret != -EAGAIN;
}

/**
 * p2pbuf_rdma_remote_info - wait for a grant and describe it
 * @conn: the connection
 * @info: the ioctl's; with -ERESTARTSYS @timeout_ms is what is left
 *
 * Context: process, may sleep; without conn->lock, for it may take long.
 * Return: 0 or an errno of the table in the uapi header, or -ERESTARTSYS.
 */
int p2pbuf_rdma_remote_info(struct p2pbuf_rdma_conn *conn,
			    struct p2pbuf_rdma_remote_info *info)
{
	u32 ms = min_t(u32, info->timeout_ms, 600 * MSEC_PER_SEC);
	unsigned long deadline = jiffies + msecs_to_jiffies(ms);
	int ret = -EAGAIN;
	long left;

	if (!p2pbuf_rdma_id_ok(info->id))
		return -ENOENT;
	left = wait_event_interruptible_timeout(conn->wait,
						remote_known(conn, info, &ret),
						msecs_to_jiffies(ms));
	if (left < 0)
		return p2pbuf_rdma_interrupted(deadline, &info->timeout_ms);
	return ret == -EAGAIN ? -ETIMEDOUT : ret;
}
