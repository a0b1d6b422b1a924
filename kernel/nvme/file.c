// SPDX-License-Identifier: GPL-2.0
/*
 * File: one open /dev/p2pbuf-nvme and its ioctls.
 *
 * One table owns parsing. Each ioctl's struct begins with its size; the table
 * knows the size of its first version, so a shorter one is refused, a longer
 * one is taken when what this kernel does not know is zero.
 */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "nvme.h"

union ioctl_arg {
	u32 size;
	struct p2pbuf_nvme_bind bind;
	struct p2pbuf_nvme_unbind unbind;
	struct p2pbuf_nvme_bind_info info;
};

/**
 * struct ioctl_call - one ioctl being carried out
 * @file: on which file
 * @arg: the argument, zero-extended
 * @user: where it came from
 * @bytes: how much of it user space knows
 */
struct ioctl_call {
	struct p2pbuf_nvme_file *file;
	union ioctl_arg arg;
	void __user *user;
	u32 bytes;
};

struct ioctl_entry {
	u32 min_size;
	u32 size;
	int (*fn)(struct ioctl_call *call);
};

static int ioctl_reply(struct ioctl_call *call)
{
	return copy_to_user(call->user, &call->arg, call->bytes) ? -EFAULT : 0;
}

static struct p2pbuf_nvme_binding *
file_slot_binding(struct p2pbuf_nvme_file *file, u32 id)
{
	return rcu_dereference_protected(*p2pbuf_nvme_slot(file, id),
					 lockdep_is_held(&file->lock));
}

/* The binding of that id, or NULL. */
static struct p2pbuf_nvme_binding *file_binding(struct p2pbuf_nvme_file *file,
						u32 id)
{
	struct p2pbuf_nvme_binding *b = file_slot_binding(file, id);

	return b && b->id == id ? b : NULL;
}

/* The next id that is free, 0 if none is. Only the holder of the lock binds. */
static u32 file_next_id(struct p2pbuf_nvme_file *file)
{
	u32 i, id = file->last_id;

	lockdep_assert_held(&file->lock);

	for (i = 0; i < NVME_MAX_BINDINGS; i++) {
		id = id % NVME_MAX_BINDINGS + 1;
		if (!file_slot_binding(file, id))
			return id;
	}
	return 0;
}

static int file_bind_locked(struct ioctl_call *call)
{
	struct p2pbuf_nvme_bind *arg = &call->arg.bind;
	struct p2pbuf_nvme_file *file = call->file;
	struct p2pbuf_nvme_binding *b;
	u32 id;
	int ret;

	id = file_next_id(file);
	if (!id) {
		p2pbuf_nvme_report_refusal(-EMFILE, P2PBUF_REASON_NONE);
		return -EMFILE;
	}
	ret = p2pbuf_nvme_bind(file, arg, &b);
	if (ret == P2PBUF_NVME_LATER)
		return ret;
	if (ret) {
		p2pbuf_nvme_report_refusal(ret, arg->path.reason);
		/* The verdict on the path is worth having all the same. */
		ioctl_reply(call);
		return ret;
	}
	arg->id = id;
	b->id = id;
	ret = ioctl_reply(call);
	if (ret) {
		p2pbuf_nvme_binding_destroy(b);
		return ret;
	}
	file->last_id = id;
	/* Published; commands find it from here. */
	rcu_assign_pointer(*p2pbuf_nvme_slot(file, id), b);
	return 0;
}

/*
 * A drive that is recovering from an error may need longer than who unbinds
 * meanwhile should have to wait, so no lock is held between the tries.
 */
static int file_bind(struct ioctl_call *call)
{
	int ret;

	do {
		if (mutex_lock_interruptible(&call->file->lock))
			return -ERESTARTSYS;
		ret = file_bind_locked(call);
		mutex_unlock(&call->file->lock);
		if (ret != P2PBUF_NVME_LATER)
			return ret;
	} while (!msleep_interruptible(P2PBUF_NVME_LATER_MS));
	return -ERESTARTSYS;
}

static int file_unbind(struct ioctl_call *call)
{
	struct p2pbuf_nvme_file *file = call->file;
	u32 id = call->arg.unbind.id;
	struct p2pbuf_nvme_binding *b;

	mutex_lock(&file->lock);
	b = file_binding(file, id);
	if (b) {
		RCU_INIT_POINTER(*p2pbuf_nvme_slot(file, id), NULL);
		synchronize_rcu();
		p2pbuf_nvme_binding_destroy(b);
	}
	mutex_unlock(&file->lock);
	return b ? 0 : -ENOENT;
}

static int file_bind_info(struct ioctl_call *call)
{
	struct p2pbuf_nvme_bind_info info = {
		.size = call->arg.info.size,
		.id = call->arg.info.id,
	};
	struct p2pbuf_nvme_binding *b;

	if (call->arg.info.reserved[0] || call->arg.info.reserved[1])
		return -EINVAL;
	mutex_lock(&call->file->lock);
	b = file_binding(call->file, info.id);
	if (b)
		p2pbuf_nvme_binding_info(b, &info);
	mutex_unlock(&call->file->lock);
	if (!b)
		return -ENOENT;
	call->arg.info = info;
	return ioctl_reply(call);
}

#define IOCTL_ENTRY(_cmd, _type, _fn) {					\
		.min_size = _IOC_SIZE(_cmd),				\
		.size = sizeof(struct _type),				\
		.fn = _fn,						\
	}

/* The numbers in the uapi header encode the sizes of the first version. */
static const struct ioctl_entry ioctl_table[] = {
	[_IOC_NR(P2PBUF_NVME_BIND)] =
		IOCTL_ENTRY(P2PBUF_NVME_BIND, p2pbuf_nvme_bind, file_bind),
	[_IOC_NR(P2PBUF_NVME_UNBIND)] =
		IOCTL_ENTRY(P2PBUF_NVME_UNBIND, p2pbuf_nvme_unbind,
			    file_unbind),
	[_IOC_NR(P2PBUF_NVME_BIND_INFO)] =
		IOCTL_ENTRY(P2PBUF_NVME_BIND_INFO, p2pbuf_nvme_bind_info,
			    file_bind_info),
};

static long file_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct ioctl_call call = {
		.file = filp->private_data,
		.user = (void __user *)arg,
	};
	const struct ioctl_entry *entry;
	int ret;

	if (_IOC_TYPE(cmd) != P2PBUF_NVME_IOC_MAGIC ||
	    _IOC_NR(cmd) >= ARRAY_SIZE(ioctl_table))
		return -ENOTTY;
	entry = &ioctl_table[array_index_nospec(_IOC_NR(cmd),
						ARRAY_SIZE(ioctl_table))];
	ret = p2pbuf_args_fetch(&call.arg, entry->size, entry->min_size,
				call.user);
	if (ret < 0)
		return ret;
	call.bytes = ret;
	return entry->fn(&call);
}

static int file_open(struct inode *inode, struct file *filp)
{
	struct p2pbuf_nvme_file *file;

	file = kvzalloc_obj(*file, GFP_KERNEL_ACCOUNT);
	if (!file)
		return -ENOMEM;
	mutex_init(&file->lock);
	INIT_LIST_HEAD(&file->imports);
	filp->private_data = file;
	return 0;
}

/*
 * Every command holds the file: none is in flight any more, and none can look
 * for a binding.
 */
static int file_release(struct inode *inode, struct file *filp)
{
	struct p2pbuf_nvme_file *file = filp->private_data;
	struct p2pbuf_nvme_binding *b;
	u32 id;

	mutex_lock(&file->lock);
	for (id = 1; id <= NVME_MAX_BINDINGS; id++) {
		b = file_slot_binding(file, id);
		RCU_INIT_POINTER(*p2pbuf_nvme_slot(file, id), NULL);
		if (b)
			p2pbuf_nvme_binding_destroy(b);
	}
	mutex_unlock(&file->lock);
	mutex_destroy(&file->lock);
	kvfree(file);
	return 0;
}

const struct file_operations p2pbuf_nvme_fops = {
	.owner = THIS_MODULE,
	.open = file_open,
	.release = file_release,
	.unlocked_ioctl = file_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.uring_cmd = p2pbuf_nvme_uring_cmd,
	.uring_cmd_iopoll = p2pbuf_nvme_uring_cmd_iopoll,
};
