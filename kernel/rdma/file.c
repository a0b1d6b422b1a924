// SPDX-License-Identifier: GPL-2.0
/*
 * File: one open /dev/p2pbuf-rdma and its ioctls.
 *
 * One table owns parsing. Each ioctl's struct begins with its size; the table
 * knows the size of its first version, so a shorter one is refused, a longer
 * one is taken when what this kernel does not know is zero.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>
#include "rdma.h"

union ioctl_arg {
	u32 size;
	struct p2pbuf_rdma_listen listen;
	struct p2pbuf_rdma_accept accept;
	struct p2pbuf_rdma_connect connect;
	struct p2pbuf_rdma_import import;
	struct p2pbuf_rdma_release release;
	struct p2pbuf_rdma_grant grant;
	struct p2pbuf_rdma_recall recall;
	struct p2pbuf_rdma_info info;
	struct p2pbuf_rdma_buffer_info buffer_info;
	struct p2pbuf_rdma_remote_info remote_info;
	struct p2pbuf_rdma_cancel cancel;
	struct p2pbuf_rdma_shutdown shutdown;
};

/**
 * struct ioctl_call - one ioctl being carried out
 * @conn: on which file
 * @arg: the argument, zero-extended
 * @user: where it came from
 * @bytes: how much of it user space knows
 */
struct ioctl_call {
	struct p2pbuf_rdma_conn *conn;
	union ioctl_arg arg;
	void __user *user;
	u32 bytes;
};

/**
 * struct ioctl_entry - an ioctl
 * @min_size: of its first version
 * @size: of this kernel's
 * @unlocked: @fn is called without conn->lock
 * @fn: does it
 */
struct ioctl_entry {
	u32 min_size;
	u32 size;
	bool unlocked;
	int (*fn)(struct ioctl_call *call);
};

static int ioctl_reply(struct ioctl_call *call)
{
	return copy_to_user(call->user, &call->arg, call->bytes) ? -EFAULT : 0;
}

/* Begun anew it waits for what is left of its time, a field of call->arg. */
static int ioctl_again(struct ioctl_call *call, const u32 *timeout_ms)
{
	void __user *user = call->user +
			    ((const void *)timeout_ms -
			     (const void *)&call->arg);

	/* Where that cannot be written it is not begun anew. */
	return copy_to_user(user, timeout_ms, sizeof(*timeout_ms)) ?
	       -EINTR : -ERESTARTSYS;
}

static int file_listen(struct ioctl_call *call)
{
	struct p2pbuf_rdma_listen *arg = &call->arg.listen;
	int ret;

	if (arg->flags)
		return -EINVAL;
	if (call->conn->state != P2PBUF_RDMA_NEW)
		return -EISCONN;
	ret = p2pbuf_rdma_listen_start(call->conn, arg);
	if (ret)
		return ret;
	ret = ioctl_reply(call);
	if (ret)
		p2pbuf_rdma_listen_undo(call->conn);
	return ret;
}

static int file_accept(struct ioctl_call *call)
{
	struct p2pbuf_rdma_accept *arg = &call->arg.accept;
	struct p2pbuf_rdma_conn *listener;
	struct file *filp;
	int ret = -EBADFD;

	if (arg->flags || arg->limits.recall_ms > P2PBUF_RDMA_MAX_RECALL_MS)
		return -EINVAL;
	if (call->conn->state != P2PBUF_RDMA_NEW)
		return -EISCONN;
	filp = fget(arg->listen_fd);
	if (!filp)
		return -EBADF;
	if (filp->f_op == &p2pbuf_rdma_fops) {
		listener = filp->private_data;
		if (READ_ONCE(listener->state) == P2PBUF_RDMA_LISTENING)
			ret = p2pbuf_rdma_listen_accept(listener, call->conn,
							arg);
	}
	fput(filp);
	return ret == -ERESTARTSYS ? ioctl_again(call, &arg->timeout_ms) : ret;
}

static int file_connect(struct ioctl_call *call)
{
	struct p2pbuf_rdma_connect *arg = &call->arg.connect;

	if (arg->flags || arg->reserved ||
	    arg->limits.recall_ms > P2PBUF_RDMA_MAX_RECALL_MS)
		return -EINVAL;
	if (call->conn->state != P2PBUF_RDMA_NEW)
		return -EISCONN;
	return p2pbuf_rdma_conn_connect(call->conn, arg);
}

static int file_import(struct ioctl_call *call)
{
	struct p2pbuf_rdma_import *arg = &call->arg.import;
	struct p2pbuf_rdma_conn *conn = call->conn;
	struct p2pbuf_rdma_buffer *b;
	int ret;

	ret = p2pbuf_rdma_buffer_import(conn, arg, &b);
	if (ret) {
		p2pbuf_rdma_report_refusal(ret, arg->path.reason);
		/* The verdict on the path is worth having all the same. */
		ioctl_reply(call);
		return ret;
	}
	ret = ioctl_reply(call);
	if (ret) {
		p2pbuf_rdma_buffer_destroy(b);
		return ret;
	}
	/* Published; commands and the peer find it from here. */
	spin_lock(&conn->io_lock);
	conn->buffers[b->id] = b;
	spin_unlock(&conn->io_lock);
	return 0;
}

/* conn->lock is held: the buffer stays. */
static struct p2pbuf_rdma_buffer *file_buffer(struct ioctl_call *call, u32 id)
{
	return p2pbuf_rdma_id_ok(id) ? call->conn->buffers[id] : NULL;
}

static int file_release_buffer(struct ioctl_call *call)
{
	struct p2pbuf_rdma_buffer *b = file_buffer(call, call->arg.release.id);

	if (!b)
		return -ENOENT;
	p2pbuf_rdma_buffer_destroy(b);
	return 0;
}

static int file_grant(struct ioctl_call *call)
{
	struct p2pbuf_rdma_grant *arg = &call->arg.grant;
	struct p2pbuf_rdma_buffer *b = file_buffer(call, arg->id);

	if (arg->flags || !arg->rights || arg->rights & ~RDMA_RIGHTS)
		return -EINVAL;
	return b ? p2pbuf_rdma_buffer_grant(b, arg->rights) : -ENOENT;
}

static int file_recall(struct ioctl_call *call)
{
	struct p2pbuf_rdma_buffer *b = file_buffer(call, call->arg.recall.id);

	return b ? p2pbuf_rdma_buffer_recall(b) : -ENOENT;
}

static int file_info(struct ioctl_call *call)
{
	struct p2pbuf_rdma_info info = { .size = call->arg.info.size };

	p2pbuf_rdma_conn_info(call->conn, &info);
	call->arg.info = info;
	return ioctl_reply(call);
}

static int file_buffer_info(struct ioctl_call *call)
{
	struct p2pbuf_rdma_buffer_info info = {
		.size = call->arg.buffer_info.size,
		.id = call->arg.buffer_info.id,
	};
	struct p2pbuf_rdma_buffer *b = file_buffer(call, info.id);

	if (!b)
		return -ENOENT;
	p2pbuf_rdma_buffer_info(b, &info);
	call->arg.buffer_info = info;
	return ioctl_reply(call);
}

static int file_remote_info(struct ioctl_call *call)
{
	struct p2pbuf_rdma_remote_info *info = &call->arg.remote_info;
	int ret = p2pbuf_rdma_remote_info(call->conn, info);

	if (ret == -ERESTARTSYS)
		ret = ioctl_again(call, &info->timeout_ms);
	return ret ?: ioctl_reply(call);
}

static int file_cancel(struct ioctl_call *call)
{
	struct p2pbuf_rdma_cancel *arg = &call->arg.cancel;

	if (arg->flags)
		return -EINVAL;
	return p2pbuf_rdma_io_cancel(call->conn, arg->user_data);
}

static int file_shutdown(struct ioctl_call *call)
{
	if (call->arg.shutdown.flags)
		return -EINVAL;
	return p2pbuf_rdma_conn_shutdown(call->conn);
}

#define IOCTL_ENTRY(_cmd, _type, _fn, ...) {				\
		.min_size = _IOC_SIZE(_cmd),				\
		.size = sizeof(struct _type),				\
		.fn = _fn,						\
		__VA_ARGS__						\
	}

/* The numbers in the uapi header encode the sizes of the first version. */
static const struct ioctl_entry ioctl_table[] = {
	[_IOC_NR(P2PBUF_RDMA_LISTEN)] =
		IOCTL_ENTRY(P2PBUF_RDMA_LISTEN, p2pbuf_rdma_listen,
			    file_listen),
	[_IOC_NR(P2PBUF_RDMA_ACCEPT)] =
		IOCTL_ENTRY(P2PBUF_RDMA_ACCEPT, p2pbuf_rdma_accept,
			    file_accept),
	[_IOC_NR(P2PBUF_RDMA_CONNECT)] =
		IOCTL_ENTRY(P2PBUF_RDMA_CONNECT, p2pbuf_rdma_connect,
			    file_connect),
	[_IOC_NR(P2PBUF_RDMA_IMPORT)] =
		IOCTL_ENTRY(P2PBUF_RDMA_IMPORT, p2pbuf_rdma_import,
			    file_import),
	[_IOC_NR(P2PBUF_RDMA_RELEASE)] =
		IOCTL_ENTRY(P2PBUF_RDMA_RELEASE, p2pbuf_rdma_release,
			    file_release_buffer),
	[_IOC_NR(P2PBUF_RDMA_GRANT)] =
		IOCTL_ENTRY(P2PBUF_RDMA_GRANT, p2pbuf_rdma_grant, file_grant),
	[_IOC_NR(P2PBUF_RDMA_RECALL)] =
		IOCTL_ENTRY(P2PBUF_RDMA_RECALL, p2pbuf_rdma_recall,
			    file_recall),
	[_IOC_NR(P2PBUF_RDMA_INFO)] =
		IOCTL_ENTRY(P2PBUF_RDMA_INFO, p2pbuf_rdma_info, file_info,
			    .unlocked = true),
	[_IOC_NR(P2PBUF_RDMA_BUFFER_INFO)] =
		IOCTL_ENTRY(P2PBUF_RDMA_BUFFER_INFO, p2pbuf_rdma_buffer_info,
			    file_buffer_info),
	[_IOC_NR(P2PBUF_RDMA_REMOTE_INFO)] =
		IOCTL_ENTRY(P2PBUF_RDMA_REMOTE_INFO, p2pbuf_rdma_remote_info,
			    file_remote_info, .unlocked = true),
	[_IOC_NR(P2PBUF_RDMA_CANCEL)] =
		IOCTL_ENTRY(P2PBUF_RDMA_CANCEL, p2pbuf_rdma_cancel,
			    file_cancel, .unlocked = true),
	[_IOC_NR(P2PBUF_RDMA_SHUTDOWN)] =
		IOCTL_ENTRY(P2PBUF_RDMA_SHUTDOWN, p2pbuf_rdma_shutdown,
			    file_shutdown, .unlocked = true),
};

static int file_call(const struct ioctl_entry *entry, struct ioctl_call *call)
{
	int ret;

	if (entry->unlocked)
		return entry->fn(call);
	if (mutex_lock_interruptible(&call->conn->lock))
		return -ERESTARTSYS;
	ret = entry->fn(call);
	mutex_unlock(&call->conn->lock);
	return ret;
}

static long file_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct ioctl_call call = {
		.conn = filp->private_data,
		.user = (void __user *)arg,
	};
	const struct ioctl_entry *entry;
	unsigned int nr = _IOC_NR(cmd);
	int ret;

	if (_IOC_TYPE(cmd) != P2PBUF_RDMA_IOC_MAGIC ||
	    nr >= ARRAY_SIZE(ioctl_table))
		return -ENOTTY;
	/* It selects a function: not even a wrong guess may leave the table. */
	entry = &ioctl_table[array_index_nospec(nr, ARRAY_SIZE(ioctl_table))];
	ret = p2pbuf_args_fetch(&call.arg, entry->size, entry->min_size,
				call.user);
	if (ret < 0)
		return ret;
	call.bytes = ret;
	return file_call(entry, &call);
}

static int file_open(struct inode *inode, struct file *filp)
{
	struct p2pbuf_rdma_conn *conn = p2pbuf_rdma_conn_create();

	if (!conn)
		return -ENOMEM;
	filp->private_data = conn;
	return 0;
}

/* Every command holds the file: none is in flight any more. */
static int file_release(struct inode *inode, struct file *filp)
{
	p2pbuf_rdma_conn_destroy(filp->private_data);
	return 0;
}

const struct file_operations p2pbuf_rdma_fops = {
	.owner = THIS_MODULE,
	.open = file_open,
	.release = file_release,
	.unlocked_ioctl = file_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.uring_cmd = p2pbuf_rdma_uring_cmd,
};
