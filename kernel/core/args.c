// SPDX-License-Identifier: GPL-2.0
/*
 * Arguments of ioctls that grow.
 *
 * Every argument starts with a __u32 size, which user space sets to the sizeof
 * of the struct it was compiled with. A shorter one is extended with zeroes, a
 * longer one is taken if what this kernel does not know is zero: zero always
 * means what older versions did (see copy_struct_from_user()).
 */
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include "p2pbuf_core.h"

/**
 * p2pbuf_args_fetch - read the argument of an ioctl
 * @args: where to, @known bytes long, starting with a u32 size
 * @known: sizeof of the struct this kernel knows
 * @first: sizeof of the struct's first version
 * @user: where user space has it
 *
 * Context: process context; may sleep.
 * Return: how many bytes of it both sides know, which is how much of a reply
 * may be written back; or -EFAULT where it cannot be read, -EINVAL where it is
 * shorter than @first, -E2BIG where it is longer than a page or holds more
 * than zeroes behind @known.
 */
int p2pbuf_args_fetch(void *args, u32 known, u32 first,
		      const void __user *user)
{
	u32 size;
	int ret;

	if (get_user(size, (const u32 __user *)user))
		return -EFAULT;
	if (size < first)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(args, known, user, size);
	if (ret)
		return ret;
	/* User space may have changed it since it was read. */
	*(u32 *)args = size;
	return min(size, known);
}
EXPORT_SYMBOL_GPL(p2pbuf_args_fetch);
