// SPDX-License-Identifier: GPL-2.0
/*
 * Listener: requests that come in, until somebody accepts them.
 *
 * A request that has come waits on the listener's list with an id of its own.
 * Whoever takes it off the list, under io_lock, owns that id: ACCEPT, which
 * hands it to another open file; the event handler, when the RDMA device goes
 * away; or the end of the listener.
 */
#include <linux/nsproxy.h>
#include <linux/slab.h>
#include "rdma.h"

/**
 * struct rdma_pending - a request nobody has accepted yet
 * @listener: whose
 * @id: of rdma_cm, its context is this
 * @gone: the caller has given up; under the handler lock of @id
 * @listed: on the listener's list, under its io_lock
 * @node: there
 */
struct rdma_pending {
	struct p2pbuf_rdma_conn *listener;
	struct rdma_cm_id *id;
	bool gone;
	bool listed;
	struct list_head node;
};

static struct rdma_pending *pending_take(struct p2pbuf_rdma_conn *listener)
{
	struct rdma_pending *p;

	spin_lock(&listener->io_lock);
	p = list_first_entry_or_null(&listener->pending, struct rdma_pending,
				     node);
	if (p) {
		list_del(&p->node);
		p->listed = false;
		listener->nr_pending--;
	}
	spin_unlock(&listener->io_lock);
	return p;
}

/* Returning an error destroys the id. */
static int pending_event(struct rdma_cm_id *id, struct rdma_cm_event *ev)
{
	struct rdma_pending *p = id->context;
	struct p2pbuf_rdma_conn *listener = p->listener;
	bool ours;

	p->gone = true;
	if (ev->event != RDMA_CM_EVENT_DEVICE_REMOVAL)
		return 0;
	spin_lock(&listener->io_lock);
	ours = p->listed;
	if (ours) {
		list_del(&p->node);
		listener->nr_pending--;
	}
	spin_unlock(&listener->io_lock);
	if (!ours)
		return 0;
	kfree(p);
	return -ENODEV;
}

/* An error refuses the request and destroys its id. */
static int listen_request(struct p2pbuf_rdma_conn *listener,
			  struct rdma_cm_id *id, struct rdma_cm_event *ev)
{
	struct rdma_pending *p;
	int ret = 0;

	if (!p2pbuf_rdma_hello_ok(ev->param.conn.private_data,
				  ev->param.conn.private_data_len))
		return -EPROTO;
	p = kzalloc_obj(*p);
	if (!p)
		return -ENOMEM;
	p->listener = listener;
	p->id = id;
	id->context = p;
	id->event_handler = pending_event;
	spin_lock(&listener->io_lock);
	if (listener->state != P2PBUF_RDMA_LISTENING ||
	    listener->nr_pending >= RDMA_BACKLOG) {
		ret = -ECONNREFUSED;
	} else {
		list_add_tail(&p->node, &listener->pending);
		p->listed = true;
		listener->nr_pending++;
		wake_up_all(&listener->wait);
	}
	spin_unlock(&listener->io_lock);
	if (ret)
		kfree(p);
	return ret;
}

static int listen_event(struct rdma_cm_id *id, struct rdma_cm_event *ev)
{
	if (ev->event == RDMA_CM_EVENT_CONNECT_REQUEST)
		return listen_request(id->context, id, ev);
	return p2pbuf_rdma_conn_event(id, ev);
}

static u16 listen_port(const struct rdma_cm_id *id)
{
	const struct sockaddr_storage *here = &id->route.addr.src_addr;

	if (here->ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)here)->sin_port);
	return ntohs(((const struct sockaddr_in6 *)here)->sin6_port);
}

/* Of anything but a listener there is nothing to stop. conn->lock held. */
void p2pbuf_rdma_listen_stop(struct p2pbuf_rdma_conn *conn)
{
	struct rdma_pending *p;

	lockdep_assert_held(&conn->lock);

	/* It is dead, so that no request is added any more. */
	while ((p = pending_take(conn))) {
		rdma_destroy_id(p->id);
		kfree(p);
	}
}

/**
 * p2pbuf_rdma_listen_undo - no listener after all
 * @conn: made one by this ioctl, and nobody was told; conn->lock held
 *
 * It is new again, or stays dead if it has died meanwhile.
 */
void p2pbuf_rdma_listen_undo(struct p2pbuf_rdma_conn *conn)
{
	lockdep_assert_held(&conn->lock);

	spin_lock(&conn->io_lock);
	if (conn->state == P2PBUF_RDMA_LISTENING)
		WRITE_ONCE(conn->state, P2PBUF_RDMA_NEW);
	wake_up_all(&conn->wait);
	spin_unlock(&conn->io_lock);
	/* From here on no request is added. */
	p2pbuf_rdma_listen_stop(conn);
	rdma_destroy_id(conn->id);
	conn->id = NULL;
}

static int listen_bind(struct rdma_cm_id *id, struct sockaddr_storage *here)
{
	int ret = rdma_bind_addr(id, (struct sockaddr *)here);

	return ret ?: rdma_listen(id, RDMA_BACKLOG);
}

/**
 * p2pbuf_rdma_listen_start - become a listener
 * @conn: new; conn->lock held
 * @arg: where; the port is filled in
 *
 * Return: 0 or what rdma_cm said; @conn is as before then, but dead if its
 * device went or it was shut down meanwhile, and -ENODEV or -ENOTCONN returned.
 */
int p2pbuf_rdma_listen_start(struct p2pbuf_rdma_conn *conn,
			     struct p2pbuf_rdma_listen *arg)
{
	struct sockaddr_storage here;
	struct rdma_cm_id *id;
	int ret;

	lockdep_assert_held(&conn->lock);

	ret = p2pbuf_rdma_sockaddr(&arg->addr, &here);
	if (ret)
		return ret;
	id = rdma_create_id(current->nsproxy->net_ns, listen_event, conn,
			    RDMA_PS_TCP, IB_QPT_RC);
	if (IS_ERR(id))
		return PTR_ERR(id);
	/* Once it is bound its device may go, which kills what it finds. */
	conn->id = id;
	WRITE_ONCE(conn->state, P2PBUF_RDMA_LISTENING);
	ret = listen_bind(id, &here);
	if (READ_ONCE(conn->state) == P2PBUF_RDMA_DEAD)
		ret = p2pbuf_rdma_conn_error(conn);
	if (ret) {
		p2pbuf_rdma_listen_undo(conn);
		return ret;
	}
	arg->addr.port = listen_port(id);
	return 0;
}

static bool listen_ready(struct p2pbuf_rdma_conn *listener)
{
	return READ_ONCE(listener->nr_pending) ||
	       READ_ONCE(listener->state) != P2PBUF_RDMA_LISTENING;
}

static int listen_wait(struct p2pbuf_rdma_conn *listener,
		       unsigned long deadline, u32 *timeout_ms)
{
	long left = max_t(long, deadline - jiffies, 0);

	left = wait_event_interruptible_timeout(listener->wait,
						listen_ready(listener), left);
	if (left < 0)
		return p2pbuf_rdma_interrupted(deadline, timeout_ms);
	if (READ_ONCE(listener->state) != P2PBUF_RDMA_LISTENING)
		return p2pbuf_rdma_conn_error(listener);
	return left ? 0 : -ETIMEDOUT;
}

/**
 * p2pbuf_rdma_listen_accept - make a connection of a request
 * @listener: where it came in; its file is held
 * @conn: will be the connection; conn->lock held
 * @arg: the ioctl's; with -ERESTARTSYS @timeout_ms is what is left
 *
 * Return: 0 or -errno. -ETIMEDOUT, -EINTR and -ERESTARTSYS while waiting for a
 * request leave @conn as it was.
 */
int p2pbuf_rdma_listen_accept(struct p2pbuf_rdma_conn *listener,
			      struct p2pbuf_rdma_conn *conn,
			      struct p2pbuf_rdma_accept *arg)
{
	u32 ms = min_t(u32, arg->timeout_ms, 600 * MSEC_PER_SEC);
	unsigned long deadline = jiffies + msecs_to_jiffies(ms);
	struct rdma_pending *p;
	struct rdma_cm_id *id;
	bool gone;
	int ret;

	lockdep_assert_held(&conn->lock);

	for (;;) {
		ret = listen_wait(listener, deadline, &arg->timeout_ms);
		if (ret)
			return ret;
		p = pending_take(listener);
		if (!p)
			continue;
		id = p->id;
		rdma_lock_handler(id);
		gone = p->gone;
		if (!gone)
			break;
		rdma_unlock_handler(id);
		rdma_destroy_id(id);
		kfree(p);
	}
	p2pbuf_rdma_set_limits(conn, &arg->limits);
	ret = p2pbuf_rdma_conn_adopt(conn, id, max_t(u32, ms, 10000));
	kfree(p);
	return ret;
}
