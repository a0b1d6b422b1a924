// SPDX-License-Identifier: GPL-2.0
/*
 * Buffer: an imported dma-buf, registered while it is mapped.
 *
 * Phases
 * ------
 *	UNMAPPED --wanted: map, active reference, REG--> MAPPING
 *	MAPPING --last REG completed--> VALID (granted: keys to the peer)
 *	VALID --mapping ended--> RECALLING if the peer has a key,
 *	                         else DRAINING
 *	RECALLING --the peer's ACK--> DRAINING
 *	DRAINING --our last piece ended: flush, LOCAL_INV--> INVALIDATING
 *	INVALIDATING --last one completed: put the reference--> UNMAPPED
 *
 * A mapping is wanted when a request waits for one, or when the buffer is
 * granted; then it is made anew at once, and granted anew.
 *
 * The end of a mapping
 * --------------------
 * Invalidation itself only kills the active reference; ours is not dropped
 * before INVALIDATING is over. The core calls buffer_poll() again and again
 * until then, and each call takes the buffer as far as it gets without
 * waiting. So all of it happens on the way to the fence: nothing allocates,
 * takes the resv or waits for a lock that is held around either. It ends in
 * bounded time:
 *
 *	the peer does not answer	recall_ms later the connection is killed
 *	none of our pieces ends		likewise, after as long
 *	they end, but one by one	likewise, RDMA_DRAIN_LIMITS times as
 *					long after that
 *	anything else goes wrong	the connection is killed
 *	the connection is dead		as soon as it is drained, nobody reaches
 *					the memory: the reference is dropped
 *					whatever phase it is in (see queue.c)
 *
 * The recall comes before our own pieces are waited for: both then run at the
 * same time.
 *
 * The end of a grant
 * ------------------
 * A peer whose lease was recalled for a move waits for the next one (hoped). A
 * recall that is for good ends that. Else, when nothing is granted any more and
 * nothing leased, a WITHDRAW does, which outlives the buffer. The only thing
 * that can overtake it is another grant of the same id; then it is not said.
 */
#include <linux/dma-buf.h>
#include <linux/device.h>
#include <linux/delay.h>
#include <linux/slab.h>
#include "rdma.h"

static void buffer_say(struct p2pbuf_rdma_buffer *b, u32 what)
{
	b->say |= what;
	set_bit(b->id, b->conn->channel.say_buffer);
	p2pbuf_rdma_wire_pump(b->conn);
}

/* Nothing is leased, and nothing will be: does the peer wait for it? */
static void buffer_withdraw(struct p2pbuf_rdma_conn *conn, u32 id)
{
	if (!test_bit(id, conn->hoped))
		return;
	set_bit(id, conn->channel.say_withdraw);
	p2pbuf_rdma_wire_pump(conn);
}

/*
 * Not granted any more. What the peer knows of it, be it half of the keys, is
 * leased and will be recalled; the other half is not said.
 */
static void buffer_ungrant(struct p2pbuf_rdma_buffer *b)
{
	b->granted = 0;
	b->say &= ~RDMA_SAY_GRANT;
}

static int buffer_access(const struct p2pbuf_rdma_buffer *b)
{
	int access = 0;

	if (b->rights & P2PBUF_RDMA_RIGHT_WRITE)
		access |= IB_ACCESS_LOCAL_WRITE;
	if (b->granted & P2PBUF_RDMA_RIGHT_READ)
		access |= IB_ACCESS_REMOTE_READ;
	if (b->granted & P2PBUF_RDMA_RIGHT_WRITE)
		access |= IB_ACCESS_REMOTE_WRITE;
	return access;
}

/*
 * The last REG has completed: tell those that wait for it. A grant that came
 * meanwhile ends this registration; the peer hears of the next one, which has
 * the rights.
 */
static void buffer_registered(struct p2pbuf_rdma_buffer *b)
{
	b->phase = RDMA_VALID;
	b->valid = b->nr;
	if (b->granted && b->access == buffer_access(b))
		buffer_say(b, RDMA_SAY_GRANT);
	p2pbuf_rdma_io_unpark(b->conn);
}

/* A REG or a LOCAL_INV. The next step of an end is buffer_poll()'s. */
static void buffer_mgmt_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct p2pbuf_rdma_buffer *b =
		container_of(wc->wr_cqe, struct p2pbuf_rdma_buffer, cqe);
	struct p2pbuf_rdma_conn *conn = b->conn;

	spin_lock(&conn->io_lock);
	conn->mgmt_free++;
	b->pending--;
	if (!p2pbuf_rdma_failed(conn, wc)) {
		if (b->phase == RDMA_MAPPING && b->posted == b->nr &&
		    !b->pending)
			buffer_registered(b);
		p2pbuf_rdma_segments_post(conn);
	}
	spin_unlock(&conn->io_lock);
}

/* The active reference of @m is handed over. */
static void buffer_register(struct p2pbuf_rdma_buffer *b,
			    struct p2pbuf_mapping *m)
{
	struct p2pbuf_rdma_conn *conn = b->conn;

	b->mapping = m;
	b->phase = RDMA_MAPPING;
	b->posted = 0;
	b->said = 0;
	b->access = buffer_access(b);
	if (b->granted)
		clear_bit(b->id, conn->channel.say_withdraw);
	b->epoch = ++conn->epochs[b->id];
	list_add_tail(&b->mgmt_node, &conn->mgmt);
	p2pbuf_rdma_segments_post(conn);
}

/**
 * p2pbuf_rdma_buffer_want - somebody wants the buffer registered
 * @b: the buffer; io_lock held
 */
void p2pbuf_rdma_buffer_want(struct p2pbuf_rdma_buffer *b)
{
	lockdep_assert_held(&b->conn->io_lock);

	if (b->phase != RDMA_UNMAPPED || b->mapping_wanted || b->granting ||
	    b->dying || b->conn->state != P2PBUF_RDMA_UP)
		return;
	b->mapping_wanted = true;
	queue_work(p2pbuf_rdma_map_wq, &b->map_work);
}

/* It cannot be mapped: those that wait for it are told, the peer's too. */
static void buffer_map_failed(struct p2pbuf_rdma_buffer *b, int error)
{
	struct p2pbuf_rdma_conn *conn = b->conn;

	p2pbuf_rdma_io_fail_local(conn, b->id, error);
	/* There may be some who wait for the first grant. */
	if (b->granted && conn->epochs[b->id])
		set_bit(b->id, conn->hoped);
	buffer_ungrant(b);
	buffer_withdraw(conn, b->id);
}

static void buffer_map_work(struct work_struct *work)
{
	struct p2pbuf_rdma_buffer *b =
		container_of(work, struct p2pbuf_rdma_buffer, map_work);
	struct p2pbuf_rdma_conn *conn = b->conn;
	struct p2pbuf_mapping *m = NULL;
	int ret;

	ret = p2pbuf_attachment_map(b->att);
	if (!ret)
		m = p2pbuf_mapping_get(b->att);
	spin_lock(&conn->io_lock);
	b->mapping_wanted = false;
	if (ret) {
		buffer_map_failed(b, ret);
	} else if (!m) {
		/* Ended again already. */
		p2pbuf_rdma_buffer_want(b);
	} else if (!b->dying && conn->state == P2PBUF_RDMA_UP &&
		   b->phase == RDMA_UNMAPPED) {
		buffer_register(b, m);
		m = NULL;
	}
	spin_unlock(&conn->io_lock);
	if (m)
		p2pbuf_mapping_put(m);
}

/* ---- the end of a mapping -------------------------------------------------- */

static void buffer_step_mapping(struct p2pbuf_rdma_buffer *b)
{
	/* No more of them; those that were posted have to be undone. */
	list_del_init(&b->mgmt_node);
	if (b->pending)
		return;
	b->valid = b->posted;
	b->phase = RDMA_DRAINING;
	b->deadline = jiffies;
}

static void buffer_step_valid(struct p2pbuf_rdma_buffer *b)
{
	b->say &= ~RDMA_SAY_GRANT;
	b->deadline = jiffies + msecs_to_jiffies(b->conn->limits.recall_ms);
	if (!b->leased) {
		b->phase = RDMA_DRAINING;
		return;
	}
	b->phase = RDMA_RECALLING;
	buffer_say(b, RDMA_SAY_RECALL);
}

static void buffer_step_recalling(struct p2pbuf_rdma_buffer *b)
{
	if (!b->leased) {
		b->phase = RDMA_DRAINING;
	} else if (time_after(jiffies, b->deadline)) {
		b->conn->counters.revocations++;
		p2pbuf_rdma_conn_kill(b->conn, ETIMEDOUT);
	}
}

/*
 * Our pieces may be many and slow, but one has to end now and then: and when it
 * does is the peer's choice, so all of them in time.
 */
static bool buffer_is_stuck(const struct p2pbuf_rdma_buffer *b)
{
	unsigned long limit = msecs_to_jiffies(b->conn->limits.recall_ms);
	unsigned long last = b->deadline + RDMA_DRAIN_LIMITS * limit;

	return time_after(jiffies, b->deadline) &&
	       (time_after(jiffies, b->conn->last_done + limit) ||
		time_after(jiffies, last));
}

static void buffer_step_draining(struct p2pbuf_rdma_buffer *b)
{
	if (b->inflight) {
		if (buffer_is_stuck(b))
			p2pbuf_rdma_conn_kill(b->conn, ETIMEDOUT);
		return;
	}
	b->phase = RDMA_INVALIDATING;
	b->posted = 0;
	list_add_tail(&b->mgmt_node, &b->conn->mgmt);
	p2pbuf_rdma_segments_post(b->conn);
}

/* One step towards the end of the mapping; true when it is reached. */
static bool buffer_step(struct p2pbuf_rdma_buffer *b)
{
	if (b->conn->state == P2PBUF_RDMA_DEAD)
		return b->conn->drained;
	switch (b->phase) {
	case RDMA_MAPPING:
		buffer_step_mapping(b);
		break;
	case RDMA_VALID:
		buffer_step_valid(b);
		break;
	case RDMA_RECALLING:
		buffer_step_recalling(b);
		break;
	case RDMA_DRAINING:
		buffer_step_draining(b);
		break;
	default:
		break;
	}
	return b->phase == RDMA_INVALIDATING && b->posted == b->valid &&
	       !b->pending;
}

static struct p2pbuf_mapping *buffer_unregistered(struct p2pbuf_rdma_buffer *b)
{
	struct p2pbuf_mapping *m = b->mapping;

	b->mapping = NULL;
	b->phase = RDMA_UNMAPPED;
	b->leased = false;
	b->say = 0;
	list_del_init(&b->mgmt_node);
	if (b->granted)
		p2pbuf_rdma_buffer_want(b);
	else
		buffer_withdraw(b->conn, b->id);
	/* Those that wait for this buffer want it, too. */
	p2pbuf_rdma_io_unpark(b->conn);
	return m;
}

/* The mapping has ended. On the way to its fence. */
static void buffer_poll(void *priv)
{
	struct p2pbuf_rdma_buffer *b = priv;
	struct p2pbuf_mapping *m = NULL;

	spin_lock(&b->conn->io_lock);
	if (b->mapping && buffer_step(b))
		m = buffer_unregistered(b);
	spin_unlock(&b->conn->io_lock);
	if (m)
		p2pbuf_mapping_put(m);
}

static int buffer_fill(void *priv, struct sg_table *sgt)
{
	return p2pbuf_rdma_segments_fill(priv, sgt);
}

static const struct p2pbuf_importer_ops buffer_ops = {
	.name = "rdma",
	.fill = buffer_fill,
	.poll = buffer_poll,
};

/* ---- what is said to the peer ---------------------------------------------- */

static void buffer_say_grant(struct p2pbuf_rdma_buffer *b,
			     struct p2pbuf_rdma_msg *msg)
{
	u32 i, count = min_t(u32, P2PBUF_RDMA_KEYS, b->nr - b->said);

	msg->type = cpu_to_le16(P2PBUF_RDMA_GRANT_LEASE);
	msg->length = cpu_to_le64(b->length);
	msg->segment = cpu_to_le32(b->said);
	msg->count = count;
	msg->shift = b->shift;
	msg->rights = b->granted;
	for (i = 0; i < count; i++)
		msg->keys[i] = cpu_to_le32(b->mrs[b->said + i]->rkey);
	/* From the first key on the peer can reach the memory. */
	b->leased = true;
	set_bit(b->id, b->conn->hoped);
	b->said += count;
	if (b->said == b->nr) {
		b->say &= ~RDMA_SAY_GRANT;
		b->conn->counters.grants_sent++;
	}
}

/**
 * p2pbuf_rdma_buffer_say - make a message of what there is to say
 * @b: the buffer; io_lock held
 * @msg: zeroed; filled
 *
 * Return: false when there is nothing.
 */
bool p2pbuf_rdma_buffer_say(struct p2pbuf_rdma_buffer *b,
			    struct p2pbuf_rdma_msg *msg)
{
	lockdep_assert_held(&b->conn->io_lock);

	msg->id = cpu_to_le32(b->id);
	msg->epoch = cpu_to_le64(b->epoch);
	if (b->say & RDMA_SAY_RECALL) {
		b->say &= ~RDMA_SAY_RECALL;
		b->conn->counters.recalls_sent++;
		msg->type = cpu_to_le16(P2PBUF_RDMA_RECALL_LEASE);
		if (!b->granted) {
			msg->flags = P2PBUF_RDMA_FOR_GOOD;
			clear_bit(b->id, b->conn->hoped);
		}
	} else if (b->say & RDMA_SAY_GRANT) {
		buffer_say_grant(b, msg);
	} else {
		return false;
	}
	return true;
}

/* No buffer of that id is granted, if there is one at all; io_lock held. */
void p2pbuf_rdma_buffer_said_withdraw(struct p2pbuf_rdma_conn *conn, u32 id,
				      struct p2pbuf_rdma_msg *msg)
{
	lockdep_assert_held(&conn->io_lock);

	clear_bit(id, conn->hoped);
	msg->type = cpu_to_le16(P2PBUF_RDMA_WITHDRAW);
	msg->id = cpu_to_le32(id);
	/* Of the last one with this id, and not before what the peer has. */
	msg->epoch = cpu_to_le64(conn->epochs[id]);
}

/**
 * p2pbuf_rdma_buffer_acked - the peer says that it gave a lease back
 * @conn: the connection; io_lock held
 * @id: of one of our buffers, which may not be
 * @epoch: of the registration
 *
 * Return: false when it was not asked to.
 */
bool p2pbuf_rdma_buffer_acked(struct p2pbuf_rdma_conn *conn, u32 id, u64 epoch)
{
	struct p2pbuf_rdma_buffer *b = conn->buffers[id];

	lockdep_assert_held(&conn->io_lock);

	if (!b || b->phase != RDMA_RECALLING || b->say & RDMA_SAY_RECALL ||
	    !b->leased || epoch != b->epoch)
		return false;
	b->leased = false;
	return true;
}

/* ---- ioctls ---------------------------------------------------------------- */

/**
 * p2pbuf_rdma_buffer_grant - let the peer use a buffer
 * @b: the buffer; conn->lock held
 * @rights: P2PBUF_RDMA_RIGHT_* bits
 *
 * A buffer that is registered is registered anew, with the rights, once it is
 * certain that they are given. Interrupted after the registration was ended,
 * that goes on by itself, as it does for a buffer that is not registered.
 *
 * Context: process, may wait for the exporter's fences.
 * Return: 0, -EACCES, -EALREADY, -ENOTCONN, -ENODEV, or as
 * p2pbuf_attachment_map() but for -ERESTARTSYS; not granted then.
 */
int p2pbuf_rdma_buffer_grant(struct p2pbuf_rdma_buffer *b, u32 rights)
{
	struct p2pbuf_rdma_conn *conn = b->conn;
	int ret = 0;

	lockdep_assert_held(&conn->lock);

	if (rights & ~b->rights)
		return -EACCES;
	spin_lock(&conn->io_lock);
	if (conn->state != P2PBUF_RDMA_UP) {
		ret = p2pbuf_rdma_conn_error(conn);
	} else if (b->granted) {
		ret = -EALREADY;
	} else {
		b->granted = rights;
		b->granting = b->mapping;
	}
	spin_unlock(&conn->io_lock);
	if (ret)
		return ret;
	b->withdrawing = false;
	if (b->granting)
		ret = p2pbuf_attachment_remap(b->att);
	if (ret == -ERESTARTSYS)
		ret = 0;
	spin_lock(&conn->io_lock);
	b->granting = false;
	if (ret) {
		buffer_ungrant(b);
		/* It may have had a grant before that, and waits for this. */
		if (!b->mapping)
			buffer_withdraw(conn, b->id);
	} else {
		p2pbuf_rdma_buffer_want(b);
	}
	/* Requests of ours may want it as well. */
	p2pbuf_rdma_io_unpark(conn);
	spin_unlock(&conn->io_lock);
	return ret;
}

/**
 * p2pbuf_rdma_buffer_recall - withdraw a grant
 * @b: the buffer; conn->lock held
 *
 * Context: process, waits for the peer, for recall_ms at most.
 * Return: 0, -EALREADY when nothing is granted, or -ERESTARTSYS: the grant is
 * withdrawn, but the peer may still have it; call again.
 */
int p2pbuf_rdma_buffer_recall(struct p2pbuf_rdma_buffer *b)
{
	struct p2pbuf_rdma_conn *conn = b->conn;
	bool granted, remote;
	int ret = 0;

	lockdep_assert_held(&conn->lock);

	spin_lock(&conn->io_lock);
	granted = b->granted;
	remote = b->mapping &&
		 b->access & (IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_WRITE);
	buffer_ungrant(b);
	/* Between two registrations: there is nothing to be given back. */
	if (!b->mapping)
		buffer_withdraw(conn, b->id);
	spin_unlock(&conn->io_lock);
	if (!granted && !remote && !b->withdrawing)
		return -EALREADY;
	if (remote)
		ret = p2pbuf_attachment_remap(b->att);
	else if (b->withdrawing)	/* waits for the end of the last one */
		ret = p2pbuf_attachment_map(b->att);
	/* What else it returns is about the mapping that nobody asked for. */
	b->withdrawing = ret == -ERESTARTSYS || ret == -EINTR;
	return b->withdrawing ? -ERESTARTSYS : 0;
}

static struct dma_buf *import_buffer(int fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);

	/* -EBADF when it is not open; all else means the wrong kind. */
	if (IS_ERR(dmabuf) && PTR_ERR(dmabuf) != -EBADF)
		return ERR_PTR(-EBADFD);
	return dmabuf;
}

static int import_check(struct p2pbuf_rdma_conn *conn,
			struct p2pbuf_rdma_import *arg)
{
	u32 id;

	if (arg->flags & ~P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM ||
	    arg->reserved[0] || arg->reserved[1])
		return -EINVAL;
	if ((arg->offset | arg->length) & ~PAGE_MASK)
		return -EDOM;
	if (conn->state != P2PBUF_RDMA_UP)
		return p2pbuf_rdma_conn_error(conn);
	if (arg->id) {
		if (!p2pbuf_rdma_id_ok(arg->id))
			return -ERANGE;
		return conn->buffers[arg->id] ? -EEXIST : 0;
	}
	for (id = 1; id < RDMA_IDS; id++)
		if (!conn->buffers[id])
			break;
	arg->id = id;
	return id < RDMA_IDS ? 0 : -EMFILE;
}

static int import_range(struct p2pbuf_rdma_conn *conn,
			struct p2pbuf_rdma_import *arg, u64 size)
{
	size = round_down(size, PAGE_SIZE);
	if (arg->offset >= size || arg->length > size - arg->offset)
		return -ERANGE;
	if (!arg->length)
		arg->length = size - arg->offset;
	if (arg->length > (u64)P2PBUF_RDMA_MAX_SEGMENTS << conn->segment_shift)
		return -EFBIG;
	return 0;
}

static struct p2pbuf_rdma_buffer *
buffer_alloc(struct p2pbuf_rdma_conn *conn,
	     const struct p2pbuf_rdma_import *arg, const struct dma_buf *dmabuf)
{
	struct p2pbuf_rdma_buffer *b;

	b = kzalloc_obj(*b, GFP_KERNEL_ACCOUNT);
	if (!b)
		return NULL;
	b->conn = conn;
	b->id = arg->id;
	b->offset = arg->offset;
	b->length = arg->length;
	b->shift = conn->segment_shift;
	b->nr = DIV_ROUND_UP_ULL(b->length, BIT_ULL(b->shift));
	if (dmabuf->file->f_mode & FMODE_READ)
		b->rights |= P2PBUF_RDMA_RIGHT_READ;
	if (dmabuf->file->f_mode & FMODE_WRITE)
		b->rights |= P2PBUF_RDMA_RIGHT_WRITE;
	INIT_WORK(&b->map_work, buffer_map_work);
	INIT_LIST_HEAD(&b->mgmt_node);
	b->cqe.done = buffer_mgmt_done;
	return b;
}

/*
 * The core wants to be sure that it sees an unbind. Whoever unbinds the device
 * waits for our teardown, and that for conn->lock: so only try.
 */
static int import_attach(struct p2pbuf_rdma_buffer *b, struct dma_buf *dmabuf,
			 struct p2pbuf_path_info *path)
{
	struct p2pbuf_rdma_conn *conn = b->conn;
	struct device *dev = conn->dev->dma_device ?: p2pbuf_cpu_device();
	struct p2pbuf_attachment *att;

	while (!device_trylock(dev)) {
		if (READ_ONCE(conn->state) != P2PBUF_RDMA_UP)
			return p2pbuf_rdma_conn_error(conn);
		if (fatal_signal_pending(current))
			return -EINTR;
		fsleep(1000);
	}
	att = p2pbuf_attachment_create(dmabuf, dev, &buffer_ops, b);
	device_unlock(dev);
	if (IS_ERR(att)) {
		path->path = P2PBUF_PATH_REFUSED;
		path->reason = P2PBUF_REASON_EXPORTER;
		return PTR_ERR(att);
	}
	b->att = att;
	return 0;
}

/* The first mapping, for its verdict; it is registered when it is wanted. */
static int import_map(struct p2pbuf_rdma_buffer *b,
		      struct p2pbuf_rdma_import *arg)
{
	int ret = p2pbuf_attachment_map(b->att);

	p2pbuf_attachment_path(b->att, &arg->path);
	if (ret)
		return ret;
	if (arg->path.path == P2PBUF_PATH_SYSTEM &&
	    !(arg->flags & P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM)) {
		arg->path.reason = P2PBUF_REASON_NOT_PEER;
		return -EREMOTEIO;
	}
	return 0;
}

static int import_make(struct p2pbuf_rdma_buffer *b,
		       struct p2pbuf_rdma_import *arg, struct dma_buf *dmabuf)
{
	int ret;

	ret = p2pbuf_rdma_segments_alloc(b);
	if (ret)
		return ret;
	ret = import_attach(b, dmabuf, &arg->path);
	return ret ?: import_map(b, arg);
}

/**
 * p2pbuf_rdma_buffer_import - make a buffer that has no id yet
 * @conn: will own it; conn->lock held
 * @arg: what the caller asked for; its out fields are filled
 * @out: the buffer, to be put in its place or destroyed
 *
 * Return: 0 or an errno of the table in the uapi header; @arg->path says why
 * when it is about the path.
 */
int p2pbuf_rdma_buffer_import(struct p2pbuf_rdma_conn *conn,
			      struct p2pbuf_rdma_import *arg,
			      struct p2pbuf_rdma_buffer **out)
{
	struct p2pbuf_rdma_buffer *b;
	struct dma_buf *dmabuf;
	int ret;

	lockdep_assert_held(&conn->lock);

	arg->path = (struct p2pbuf_path_info){
		.importer = P2PBUF_PATH_NO_DEVICE,
		.exporter = P2PBUF_PATH_NO_DEVICE,
		.blocker = P2PBUF_PATH_NO_DEVICE,
	};
	ret = import_check(conn, arg);
	if (ret)
		return ret;
	dmabuf = import_buffer(arg->dmabuf_fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	ret = import_range(conn, arg, dmabuf->size);
	if (ret)
		goto put_buffer;
	ret = -ENOMEM;
	b = buffer_alloc(conn, arg, dmabuf);
	if (!b)
		goto put_buffer;
	ret = import_make(b, arg, dmabuf);
	if (ret)
		goto destroy;
	arg->rights = b->rights;
	arg->segment = BIT(b->shift);
	*out = b;
	/* The attachment keeps the buffer. */
	dma_buf_put(dmabuf);
	return 0;

destroy:
	p2pbuf_rdma_buffer_destroy(b);
put_buffer:
	dma_buf_put(dmabuf);
	return ret;
}

/**
 * p2pbuf_rdma_buffer_revoke - let go of the memory and of the device
 * @b: the buffer; conn->lock held
 *
 * Idempotent. Waits for our pieces and for the peer's lease, within its time.
 */
void p2pbuf_rdma_buffer_revoke(struct p2pbuf_rdma_buffer *b)
{
	struct p2pbuf_rdma_conn *conn = b->conn;

	spin_lock(&conn->io_lock);
	b->dying = true;
	buffer_ungrant(b);
	if (conn->buffers[b->id] == b)
		p2pbuf_rdma_io_fail_local(conn, b->id, -ENOENT);
	/* Else it is said when the mapping has ended, if not by a recall. */
	if (!b->mapping)
		buffer_withdraw(conn, b->id);
	spin_unlock(&conn->io_lock);
	if (b->att) {
		p2pbuf_attachment_revoke(b->att);
		cancel_work_sync(&b->map_work);
	}
	p2pbuf_rdma_segments_free(b);
}

/* Revokes it, takes it out of its place and frees it. conn->lock held. */
void p2pbuf_rdma_buffer_destroy(struct p2pbuf_rdma_buffer *b)
{
	struct p2pbuf_rdma_conn *conn = b->conn;

	p2pbuf_rdma_buffer_revoke(b);
	spin_lock(&conn->io_lock);
	if (conn->buffers[b->id] == b)
		conn->buffers[b->id] = NULL;
	spin_unlock(&conn->io_lock);
	if (b->att)
		p2pbuf_attachment_destroy(b->att);
	kfree(b);
}

/* Fills all but size and id. */
void p2pbuf_rdma_buffer_info(struct p2pbuf_rdma_buffer *b,
			     struct p2pbuf_rdma_buffer_info *info)
{
	struct p2pbuf_attachment_stats stats;

	p2pbuf_attachment_path(b->att, &info->path);
	p2pbuf_attachment_stats(b->att, &stats);
	info->rights = b->rights;
	info->granted = READ_ONCE(b->granted);
	info->offset = b->offset;
	info->length = b->length;
	info->epoch = READ_ONCE(b->epoch);
	info->invalidations = stats.invalidations;
}
