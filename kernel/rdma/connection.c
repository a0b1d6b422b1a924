// SPDX-License-Identifier: GPL-2.0
/*
 * Connection: made once, ended once.
 *
 * Life: new -> connecting -> up -> dead, or new -> listening -> dead. Whatever
 * goes wrong, on this side, on the peer's or on the way, ends in
 * p2pbuf_rdma_conn_kill(), which takes nothing but io_lock and waits for
 * nothing: from there on nothing is posted. kill_work then drains the queues
 * and ends what was parked. Queues that were never up have nothing but receives
 * for a peer that knows no key of ours; those end with the queue, and need no
 * help of a device that may have failed to make it. Buffers stay attached to
 * their exporters, but their next mapping is not made, and the end of the last
 * one needs nothing of the dead connection but that it is drained.
 *
 * Teardown is for the last close, for a shutdown, which need not wait for the
 * last close, and for an RDMA device that goes away; rdma_cm holds the removal
 * of a device up until its ids are destroyed, so that is done from a work item
 * as soon as it says so.
 */
#include <linux/inet.h>
#include <linux/nsproxy.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <net/ipv6.h>
#include "rdma.h"

#define CM_NOTHING	(-1)

/* What a dead connection tells those that try to use it. */
int p2pbuf_rdma_conn_error(const struct p2pbuf_rdma_conn *conn)
{
	return READ_ONCE(conn->error) == ENODEV ? -ENODEV : -ENOTCONN;
}

/**
 * p2pbuf_rdma_conn_kill - the end of a connection
 * @conn: the connection; io_lock held
 * @error: why, a positive errno; the first one stays
 *
 * Context: any but interrupts. Neither waits nor allocates.
 */
void p2pbuf_rdma_conn_kill(struct p2pbuf_rdma_conn *conn, int error)
{
	lockdep_assert_held(&conn->io_lock);

	if (conn->state == P2PBUF_RDMA_DEAD)
		return;
	WRITE_ONCE(conn->state, P2PBUF_RDMA_DEAD);
	WRITE_ONCE(conn->error, error);
	queue_work(p2pbuf_rdma_wq, &conn->kill_work);
	wake_up_all(&conn->wait);
}

static void conn_kill_work(struct work_struct *work)
{
	struct p2pbuf_rdma_conn *conn =
		container_of(work, struct p2pbuf_rdma_conn, kill_work);
	/* Fences wait for this: what a driver allocates must not wait for them. */
	unsigned int noio = memalloc_noio_save();
	bool connected;

	spin_lock(&conn->io_lock);
	connected = conn->connected;
	conn->connected = false;
	spin_unlock(&conn->io_lock);
	if (connected)
		p2pbuf_rdma_queue_drain(conn);
	spin_lock(&conn->io_lock);
	conn->drained = true;
	p2pbuf_rdma_io_fail_all(conn, p2pbuf_rdma_conn_error(conn) == -ENODEV ?
				-ENODEV : -ECONNRESET);
	spin_unlock(&conn->io_lock);
	memalloc_noio_restore(noio);
	if (connected)
		rdma_disconnect(conn->id);
}

static void conn_removal_work(struct work_struct *work)
{
	struct p2pbuf_rdma_conn *conn =
		container_of(work, struct p2pbuf_rdma_conn, removal_work);

	mutex_lock(&conn->lock);
	p2pbuf_rdma_conn_teardown(conn);
	mutex_unlock(&conn->lock);
}

/**
 * p2pbuf_rdma_conn_create - for a file that is opened
 *
 * Return: a new conn, or NULL.
 */
struct p2pbuf_rdma_conn *p2pbuf_rdma_conn_create(void)
{
	struct p2pbuf_rdma_conn *conn;

	conn = kvzalloc_obj(*conn, GFP_KERNEL_ACCOUNT);
	if (!conn)
		return NULL;
	mutex_init(&conn->lock);
	spin_lock_init(&conn->io_lock);
	init_waitqueue_head(&conn->wait);
	INIT_WORK(&conn->kill_work, conn_kill_work);
	INIT_WORK(&conn->removal_work, conn_removal_work);
	INIT_DELAYED_WORK(&conn->expire_work, p2pbuf_rdma_io_expire);
	INIT_LIST_HEAD(&conn->pending);
	INIT_LIST_HEAD(&conn->mgmt);
	INIT_LIST_HEAD(&conn->ready);
	INIT_LIST_HEAD(&conn->parked);
	INIT_LIST_HEAD(&conn->receivers);
	INIT_LIST_HEAD(&conn->requests);
	conn->mgmt_free = RDMA_MGMT_DEPTH;
	p2pbuf_rdma_wire_init(conn);
	p2pbuf_rdma_report_add(conn);
	return conn;
}

/**
 * p2pbuf_rdma_conn_teardown - let go of the RDMA device
 * @conn: conn->lock held
 *
 * Idempotent. Buffers stay as empty shells until they are destroyed.
 */
void p2pbuf_rdma_conn_teardown(struct p2pbuf_rdma_conn *conn)
{
	u32 id;

	lockdep_assert_held(&conn->lock);

	spin_lock(&conn->io_lock);
	p2pbuf_rdma_conn_kill(conn, ECONNRESET);
	spin_unlock(&conn->io_lock);
	flush_work(&conn->kill_work);
	for (id = 1; id < RDMA_IDS; id++)
		if (conn->buffers[id])
			p2pbuf_rdma_buffer_revoke(conn->buffers[id]);
	p2pbuf_rdma_queue_destroy(conn);
	p2pbuf_rdma_listen_stop(conn);
	if (conn->id)
		rdma_destroy_id(conn->id);
	conn->id = NULL;
}

/**
 * p2pbuf_rdma_conn_shutdown - let go of all before the last close
 * @conn: the connection or listener
 *
 * Idempotent.
 *
 * Context: process, waits for whoever holds conn->lock; those that wait for a
 * peer then wait no more.
 * Return: 0; -ENOTCONN when it is nothing yet; -ERESTARTSYS when it is dead but
 * has not let go of the device: to be called again.
 */
int p2pbuf_rdma_conn_shutdown(struct p2pbuf_rdma_conn *conn)
{
	bool is_new;

	spin_lock(&conn->io_lock);
	is_new = conn->state == P2PBUF_RDMA_NEW;
	if (!is_new)
		p2pbuf_rdma_conn_kill(conn, ECONNRESET);
	spin_unlock(&conn->io_lock);
	if (is_new)
		return -ENOTCONN;
	if (mutex_lock_interruptible(&conn->lock))
		return -ERESTARTSYS;
	p2pbuf_rdma_conn_teardown(conn);
	mutex_unlock(&conn->lock);
	return 0;
}

/* The file is closed: no command, no ioctl. */
void p2pbuf_rdma_conn_destroy(struct p2pbuf_rdma_conn *conn)
{
	u32 id;

	mutex_lock(&conn->lock);
	p2pbuf_rdma_conn_teardown(conn);
	for (id = 1; id < RDMA_IDS; id++)
		if (conn->buffers[id])
			p2pbuf_rdma_buffer_destroy(conn->buffers[id]);
	mutex_unlock(&conn->lock);
	/* Without an id no event comes that would queue it again. */
	cancel_work_sync(&conn->removal_work);
	cancel_delayed_work_sync(&conn->expire_work);
	p2pbuf_rdma_report_del(conn);
	mutex_destroy(&conn->lock);
	kvfree(conn);
}

/* ---- rdma_cm --------------------------------------------------------------- */

/* -EINVAL when what is unused is not zero. */
int p2pbuf_rdma_sockaddr(const struct p2pbuf_rdma_addr *addr,
			 struct sockaddr_storage *out)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	struct sockaddr_in *in = (struct sockaddr_in *)out;

	memset(out, 0, sizeof(*out));
	switch (addr->family) {
	case AF_INET:
		if (addr->scope_id || memchr_inv(addr->ip + 4, 0, 12))
			return -EINVAL;
		in->sin_family = AF_INET;
		in->sin_port = htons(addr->port);
		memcpy(&in->sin_addr, addr->ip, 4);
		return 0;
	case AF_INET6:
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(addr->port);
		in6->sin6_scope_id = addr->scope_id;
		memcpy(&in6->sin6_addr, addr->ip, 16);
		return 0;
	default:
		return -EAFNOSUPPORT;
	}
}

/* Private data is padded by the transport: only its beginning is ours. */
bool p2pbuf_rdma_hello_ok(const void *data, u8 length)
{
	const struct p2pbuf_rdma_hello *hello = data;

	return data && length >= sizeof(*hello) &&
	       hello->magic == cpu_to_le32(P2PBUF_RDMA_MAGIC) &&
	       hello->version == cpu_to_le16(P2PBUF_RDMA_VERSION) &&
	       hello->size == cpu_to_le16(sizeof(struct p2pbuf_rdma_msg)) &&
	       !hello->reserved;
}

static int conn_event_errno(const struct rdma_cm_event *ev)
{
	switch (ev->event) {
	case RDMA_CM_EVENT_REJECTED:
		return -ECONNREFUSED;
	case RDMA_CM_EVENT_UNREACHABLE:
		return -ETIMEDOUT;
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
		return ev->status < 0 ? ev->status : -EHOSTUNREACH;
	default:
		return -ECONNABORTED;
	}
}

/**
 * p2pbuf_rdma_conn_event - what rdma_cm has to say of a connection
 * @id: its id
 * @ev: the event
 *
 * Return: 0, the id stays ours.
 */
int p2pbuf_rdma_conn_event(struct rdma_cm_id *id, struct rdma_cm_event *ev)
{
	struct p2pbuf_rdma_conn *conn = id->context;

	spin_lock(&conn->io_lock);
	switch (ev->event) {
	case RDMA_CM_EVENT_ESTABLISHED:
		conn->hello_ok =
			p2pbuf_rdma_hello_ok(ev->param.conn.private_data,
					     ev->param.conn.private_data_len);
		fallthrough;
	case RDMA_CM_EVENT_ADDR_RESOLVED:
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		conn->cm_status = 0;
		conn->cm_event = ev->event;
		break;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		p2pbuf_rdma_conn_kill(conn, ENODEV);
		queue_work(p2pbuf_rdma_map_wq, &conn->removal_work);
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
		p2pbuf_rdma_conn_kill(conn, ECONNRESET);
		break;
	case RDMA_CM_EVENT_ADDR_CHANGE:
	case RDMA_CM_EVENT_TIMEWAIT_EXIT:
		break;
	default:
		conn->cm_status = conn_event_errno(ev);
		conn->cm_event = ev->event;
	}
	wake_up_all(&conn->wait);
	spin_unlock(&conn->io_lock);
	return 0;
}

static void conn_expect(struct p2pbuf_rdma_conn *conn)
{
	spin_lock(&conn->io_lock);
	conn->cm_event = CM_NOTHING;
	spin_unlock(&conn->io_lock);
}

static bool conn_has_news(const struct p2pbuf_rdma_conn *conn)
{
	return READ_ONCE(conn->cm_event) != CM_NOTHING ||
	       READ_ONCE(conn->state) == P2PBUF_RDMA_DEAD;
}

/* It has died while it was being made. */
static int conn_aborted(const struct p2pbuf_rdma_conn *conn)
{
	return conn->error == ENODEV ? -ENODEV : -ECONNABORTED;
}

/*
 * Wait for the one good outcome of a step. Only killed: what was begun could
 * not be begun anew.
 */
static int conn_wait(struct p2pbuf_rdma_conn *conn, int event, u32 timeout_ms)
{
	long left;
	int ret;

	left = wait_event_killable_timeout(conn->wait, conn_has_news(conn),
					   msecs_to_jiffies(timeout_ms));
	if (left < 0)
		return -EINTR;
	if (!left)
		return -ETIMEDOUT;
	spin_lock(&conn->io_lock);
	if (conn->state == P2PBUF_RDMA_DEAD)
		ret = conn_aborted(conn);
	else if (conn->cm_event != event)
		ret = conn->cm_status ?: -ECONNABORTED;
	else
		ret = 0;
	spin_unlock(&conn->io_lock);
	return ret;
}

static void conn_param(struct p2pbuf_rdma_conn *conn,
		       struct p2pbuf_rdma_hello *hello,
		       struct rdma_conn_param *param)
{
	u8 reads = min_t(u32, 16, conn->dev->attrs.max_qp_rd_atom);

	*hello = (struct p2pbuf_rdma_hello){
		.magic = cpu_to_le32(P2PBUF_RDMA_MAGIC),
		.version = cpu_to_le16(P2PBUF_RDMA_VERSION),
		.size = cpu_to_le16(sizeof(struct p2pbuf_rdma_msg)),
	};
	*param = (struct rdma_conn_param){
		.private_data = hello,
		.private_data_len = sizeof(*hello),
		.responder_resources = reads,
		.initiator_depth = reads,
		.retry_count = 7,
		.rnr_retry_count = 7,
	};
}

void p2pbuf_rdma_set_limits(struct p2pbuf_rdma_conn *conn,
			    const struct p2pbuf_rdma_limits *limits)
{
	conn->limits.recall_ms = limits->recall_ms ?: RDMA_RECALL_MS;
	conn->limits.wait_ms = limits->wait_ms ?: RDMA_WAIT_MS;
}

/* The peer is there: from here on there is traffic. */
static int conn_up(struct p2pbuf_rdma_conn *conn)
{
	int ret;

	ret = p2pbuf_rdma_queue_start_mgmt(conn);
	spin_lock(&conn->io_lock);
	if (conn->state != P2PBUF_RDMA_CONNECTING) {
		/* Whatever that made of the other queue pair. */
		ret = conn_aborted(conn);
	} else if (!ret) {
		WRITE_ONCE(conn->state, P2PBUF_RDMA_UP);
		conn->connected = true;
		p2pbuf_rdma_wire_pump(conn);
	}
	spin_unlock(&conn->io_lock);
	return ret;
}

static int conn_resolve(struct p2pbuf_rdma_conn *conn,
			struct sockaddr_storage *peer, u32 timeout_ms)
{
	int ret;

	conn_expect(conn);
	ret = rdma_resolve_addr(conn->id, NULL, (struct sockaddr *)peer,
				timeout_ms);
	if (!ret)
		ret = conn_wait(conn, RDMA_CM_EVENT_ADDR_RESOLVED,
				2 * timeout_ms);
	if (ret)
		return ret;
	conn_expect(conn);
	ret = rdma_resolve_route(conn->id, timeout_ms);
	if (!ret)
		ret = conn_wait(conn, RDMA_CM_EVENT_ROUTE_RESOLVED,
				2 * timeout_ms);
	return ret;
}

static int conn_call(struct p2pbuf_rdma_conn *conn,
		     struct sockaddr_storage *peer, u32 timeout_ms)
{
	struct p2pbuf_rdma_hello hello;
	struct rdma_conn_param param;
	int ret;

	ret = conn_resolve(conn, peer, timeout_ms);
	if (!ret)
		ret = p2pbuf_rdma_queue_setup(conn);
	if (ret)
		return ret;
	conn_expect(conn);
	conn_param(conn, &hello, &param);
	ret = rdma_connect(conn->id, &param);
	if (!ret)
		ret = conn_wait(conn, RDMA_CM_EVENT_ESTABLISHED, timeout_ms);
	if (ret)
		return ret;
	return conn->hello_ok ? conn_up(conn) : -EPROTO;
}

/**
 * p2pbuf_rdma_conn_connect - become the calling end of a connection
 * @conn: new; conn->lock held
 * @arg: whom to call
 *
 * Return: 0, or an errno of the table in the uapi header; but for bad
 * arguments @conn is dead then.
 */
int p2pbuf_rdma_conn_connect(struct p2pbuf_rdma_conn *conn,
			     struct p2pbuf_rdma_connect *arg)
{
	struct sockaddr_storage peer;
	struct rdma_cm_id *id;
	u32 ms;
	int ret;

	lockdep_assert_held(&conn->lock);

	ret = p2pbuf_rdma_sockaddr(&arg->addr, &peer);
	if (ret)
		return ret;
	id = rdma_create_id(current->nsproxy->net_ns, p2pbuf_rdma_conn_event,
			    conn, RDMA_PS_TCP, IB_QPT_RC);
	if (IS_ERR(id))
		return PTR_ERR(id);
	conn->id = id;
	p2pbuf_rdma_set_limits(conn, &arg->limits);
	WRITE_ONCE(conn->state, P2PBUF_RDMA_CONNECTING);
	ms = clamp_t(u32, arg->timeout_ms, 1, 600 * MSEC_PER_SEC);
	ret = conn_call(conn, &peer, ms);
	if (ret)
		p2pbuf_rdma_conn_teardown(conn);
	return ret;
}

/**
 * p2pbuf_rdma_conn_adopt - become the called end of a connection
 * @conn: new; conn->lock held
 * @id: of a request; its handler lock is held, and is released. Becomes
 *	@conn's, whatever the outcome
 * @timeout_ms: for the caller to answer
 *
 * Return: 0 or -errno; @conn is dead then.
 */
int p2pbuf_rdma_conn_adopt(struct p2pbuf_rdma_conn *conn,
			   struct rdma_cm_id *id, u32 timeout_ms)
{
	struct p2pbuf_rdma_hello hello;
	struct rdma_conn_param param;
	int ret;

	lockdep_assert_held(&conn->lock);

	conn->id = id;
	WRITE_ONCE(conn->state, P2PBUF_RDMA_CONNECTING);
	id->context = conn;
	id->event_handler = p2pbuf_rdma_conn_event;
	ret = p2pbuf_rdma_queue_setup(conn);
	if (!ret) {
		conn_expect(conn);
		conn_param(conn, &hello, &param);
		ret = rdma_accept(id, &param);
	}
	rdma_unlock_handler(id);
	if (!ret)
		ret = conn_wait(conn, RDMA_CM_EVENT_ESTABLISHED, timeout_ms);
	/* Who called has refused the answer. */
	if (ret == -ECONNREFUSED)
		ret = -ECONNABORTED;
	if (!ret)
		ret = conn_up(conn);
	if (ret)
		p2pbuf_rdma_conn_teardown(conn);
	return ret;
}
