// SPDX-License-Identifier: GPL-2.0
/*
 * File: one open /dev/p2pbuf-mock, its table of objects and its ioctls.
 *
 * An ioctl holds a reference on the object it works on, so that another thread
 * may close the object meanwhile; what it does by itself stops then, the rest
 * goes with the last reference.
 */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mock.h"

void mock_object_init(struct mock_object *obj, enum mock_object_kind kind,
		      void (*close)(struct mock_object *obj),
		      void (*release)(struct mock_object *obj))
{
	kref_init(&obj->kref);
	obj->kind = kind;
	obj->close = close;
	obj->release = release;
}

static void mock_object_release(struct kref *kref)
{
	struct mock_object *obj = container_of(kref, struct mock_object, kref);

	obj->release(obj);
}

void mock_object_put(struct mock_object *obj)
{
	kref_put(&obj->kref, mock_object_release);
}

static void mock_object_close(struct mock_object *obj)
{
	obj->close(obj);
	mock_object_put(obj);
}

/**
 * mock_file_add - give an object an id
 * @file: the file
 * @obj: takes over the caller's reference, in any case
 * @id: the id
 *
 * Return: 0, -ENOMEM or -EBUSY.
 */
int mock_file_add(struct mock_file *file, struct mock_object *obj, u32 *id)
{
	int ret = xa_alloc(&file->objects, id, obj, xa_limit_31b, GFP_KERNEL);

	if (ret)
		mock_object_close(obj);
	return ret;
}

static struct mock_object *mock_file_get(struct mock_file *file, u32 id)
{
	struct mock_object *obj;

	xa_lock(&file->objects);
	obj = xa_load(&file->objects, id);
	if (obj)
		mock_object_get(obj);
	xa_unlock(&file->objects);
	return obj;
}

/* ---- ioctls ---------------------------------------------------------------------- */

union mock_arg {
	u32 id;
	struct p2pbuf_mock_create create;
	struct p2pbuf_mock_set_shape shape;
	struct p2pbuf_mock_rule rule;
	struct p2pbuf_mock_move move;
	struct p2pbuf_mock_buffer_info buffer_info;
	struct p2pbuf_mock_data data;
	struct p2pbuf_mock_fence fence;
	struct p2pbuf_mock_hold hold;
	struct p2pbuf_mock_hold_wait hold_wait;
	struct p2pbuf_mock_plug plug;
	struct p2pbuf_mock_import import;
	struct p2pbuf_mock_put put;
	struct p2pbuf_mock_io io;
	struct p2pbuf_mock_fill fill;
	struct p2pbuf_mock_import_info import_info;
};

static int mock_set_shape(struct p2pbuf_mock_set_shape *arg)
{
	struct mock_buffer *buf;
	struct dma_buf *dmabuf;

	if (arg->shape >= P2PBUF_MOCK_SHAPES)
		return -EINVAL;
	dmabuf = mock_buffer_get(arg->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	buf = dmabuf->priv;
	dma_resv_lock(dmabuf->resv, NULL);
	buf->shape = arg->shape;
	dma_resv_unlock(dmabuf->resv);
	dma_buf_put(dmabuf);
	return 0;
}

static int mock_clear_rules(int fd)
{
	struct dma_buf *dmabuf = mock_buffer_get(fd);

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	mock_rules_clear(dmabuf->priv);
	dma_buf_put(dmabuf);
	return 0;
}

static int mock_import(struct mock_file *file, struct p2pbuf_mock_import *arg)
{
	if (arg->kind >= P2PBUF_MOCK_KINDS || arg->pad ||
	    arg->flags & ~(P2PBUF_MOCK_P2P | P2PBUF_MOCK_LAZY))
		return -EINVAL;
	return arg->kind == P2PBUF_MOCK_CORE ? mock_core_create(file, arg) :
					       mock_raw_create(file, arg);
}

/* Ioctls that name a buffer by its fd, or make an object. */
static int mock_call_file(struct mock_file *file, unsigned int cmd,
			  union mock_arg *arg)
{
	switch (cmd) {
	case P2PBUF_MOCK_CREATE:
		return mock_buffer_create(&arg->create);
	case P2PBUF_MOCK_SET_SHAPE:
		return mock_set_shape(&arg->shape);
	case P2PBUF_MOCK_RULE:
		return mock_rule_add(&arg->rule);
	case P2PBUF_MOCK_CLEAR_RULES:
		return mock_clear_rules((int)arg->id);
	case P2PBUF_MOCK_MOVE:
		return mock_buffer_move(&arg->move);
	case P2PBUF_MOCK_REVOKE:
		return mock_buffer_revoke(&arg->move);
	case P2PBUF_MOCK_BUFFER_INFO:
		return mock_buffer_info(&arg->buffer_info);
	case P2PBUF_MOCK_DATA:
		return mock_buffer_data(&arg->data);
	case P2PBUF_MOCK_FENCE_ADD:
		return mock_fence_create(file, &arg->fence);
	case P2PBUF_MOCK_HOLD:
		return mock_hold_create(file, &arg->hold);
	case P2PBUF_MOCK_PLUG:
		return mock_plug_call(&arg->plug);
	case P2PBUF_MOCK_IMPORT:
		return mock_import(file, &arg->import);
	default:
		return -ENOTTY;
	}
}

/* Which kinds of object an ioctl is for, as bits; 0 when for none. */
static u32 mock_kinds(unsigned int cmd)
{
	switch (cmd) {
	case P2PBUF_MOCK_CLOSE:
		return BIT(MOCK_FENCE) | BIT(MOCK_HOLD) | BIT(MOCK_RAW) |
		       BIT(MOCK_CORE);
	case P2PBUF_MOCK_SIGNAL:
		return BIT(MOCK_FENCE);
	case P2PBUF_MOCK_RELEASE:
	case P2PBUF_MOCK_HOLD_WAIT_FOR:
		return BIT(MOCK_HOLD);
	case P2PBUF_MOCK_MAP:
	case P2PBUF_MOCK_IMPORT_INFO:
		return BIT(MOCK_RAW) | BIT(MOCK_CORE);
	case P2PBUF_MOCK_UNMAP:
	case P2PBUF_MOCK_PIN:
	case P2PBUF_MOCK_UNPIN:
		return BIT(MOCK_RAW);
	case P2PBUF_MOCK_REMAP:
	case P2PBUF_MOCK_DETACH:
	case P2PBUF_MOCK_GET:
	case P2PBUF_MOCK_PUT:
	case P2PBUF_MOCK_IO:
	case P2PBUF_MOCK_FILL:
		return BIT(MOCK_CORE);
	default:
		return 0;
	}
}

static int mock_import_info(struct mock_object *obj,
			    struct p2pbuf_mock_import_info *arg)
{
	*arg = (struct p2pbuf_mock_import_info){ .id = arg->id };
	return obj->kind == MOCK_CORE ? mock_core_info(obj, arg) :
					mock_raw_info(obj, arg);
}

/* Another thread may be quicker. */
static int mock_file_close(struct mock_file *file, u32 id,
			   struct mock_object *obj)
{
	bool found;

	xa_lock(&file->objects);
	found = xa_load(&file->objects, id) == obj;
	if (found)
		__xa_erase(&file->objects, id);
	xa_unlock(&file->objects);
	if (!found)
		return -ENOENT;
	mock_object_close(obj);
	return 0;
}

static int mock_call_object(struct mock_file *file, struct mock_object *obj,
			    unsigned int cmd, union mock_arg *arg)
{
	switch (cmd) {
	case P2PBUF_MOCK_CLOSE:
		return mock_file_close(file, arg->id, obj);
	case P2PBUF_MOCK_SIGNAL:
		mock_fence_signal(obj);
		return 0;
	case P2PBUF_MOCK_RELEASE:
		mock_hold_let_go(obj);
		return 0;
	case P2PBUF_MOCK_HOLD_WAIT_FOR:
		return mock_hold_wait(obj, &arg->hold_wait);
	case P2PBUF_MOCK_IMPORT_INFO:
		return mock_import_info(obj, &arg->import_info);
	case P2PBUF_MOCK_PUT:
		return mock_core_put(obj, &arg->put);
	case P2PBUF_MOCK_IO:
		return mock_core_io(obj, &arg->io);
	case P2PBUF_MOCK_FILL:
		return mock_core_fill(obj, &arg->fill);
	default:
		return obj->kind == MOCK_CORE ? mock_core_call(obj, cmd) :
						mock_raw_call(obj, cmd);
	}
}

static int mock_call(struct mock_file *file, unsigned int cmd,
		     union mock_arg *arg)
{
	u32 kinds = mock_kinds(cmd);
	struct mock_object *obj;
	int ret;

	if (!kinds)
		return mock_call_file(file, cmd, arg);
	obj = mock_file_get(file, arg->id);
	if (!obj)
		return -ENOENT;
	ret = -ENOENT;
	if (kinds & BIT(obj->kind))
		ret = mock_call_object(file, obj, cmd, arg);
	mock_object_put(obj);
	return ret;
}

static long mock_ioctl(struct file *filp, unsigned int cmd, unsigned long user)
{
	struct mock_file *file = filp->private_data;
	void __user *argp = (void __user *)user;
	union mock_arg arg = {};
	long ret;

	if (_IOC_SIZE(cmd) > sizeof(arg))
		return -ENOTTY;
	if (!_IOC_SIZE(cmd))
		arg.id = user;
	else if (copy_from_user(&arg, argp, _IOC_SIZE(cmd)))
		return -EFAULT;
	ret = mock_call(file, cmd, &arg);
	/* The times of a wait that ran out are worth having. */
	if ((!ret || ret == -ETIME) && _IOC_SIZE(cmd) &&
	    copy_to_user(argp, &arg, _IOC_SIZE(cmd)))
		ret = -EFAULT;
	return ret;
}

static int mock_open(struct inode *inode, struct file *filp)
{
	struct mock_file *file;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	file = kzalloc_obj(*file);
	if (!file)
		return -ENOMEM;
	xa_init_flags(&file->objects, XA_FLAGS_ALLOC1);
	filp->private_data = file;
	return 0;
}

static void mock_file_close_kinds(struct mock_file *file, u32 kinds)
{
	struct mock_object *obj;
	unsigned long id;

	xa_for_each(&file->objects, id, obj) {
		if (!(kinds & BIT(obj->kind)))
			continue;
		xa_erase(&file->objects, id);
		mock_object_close(obj);
	}
}

/*
 * What others may be waiting for ends first: holds wait for the I/O of
 * importers, and importers go away only when holds let them have the resv.
 */
static int mock_release(struct inode *inode, struct file *filp)
{
	struct mock_file *file = filp->private_data;
	struct mock_object *obj;
	unsigned long id;

	xa_for_each(&file->objects, id, obj)
		if (obj->kind == MOCK_CORE)
			obj->close(obj);
	mock_file_close_kinds(file, BIT(MOCK_FENCE));
	mock_file_close_kinds(file, BIT(MOCK_HOLD));
	mock_file_close_kinds(file, BIT(MOCK_RAW) | BIT(MOCK_CORE));
	xa_destroy(&file->objects);
	kfree(file);
	return 0;
}

const struct file_operations mock_fops = {
	.owner = THIS_MODULE,
	.open = mock_open,
	.release = mock_release,
	.unlocked_ioctl = mock_ioctl,
	.uring_cmd = mock_plug_uring_cmd,
};
