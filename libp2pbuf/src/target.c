// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Files as targets of direct I/O: what a file demands, and whether its
 * filesystem gives the disk the very pages it is given.
 *
 * Not every filesystem does. Where one falls back to the page cache, or looks
 * at the data on its way, the kernel copies by CPU and says nothing. So only
 * filesystems whose ways were looked at are accepted, and of those only files
 * that are not among their exceptions.
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/magic.h>

#include "internal.h"

#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX		0x00200000
#endif

const char *p2pbuf_target_kind(mode_t mode)
{
	if (S_ISREG(mode))
		return "a regular file";
	if (S_ISBLK(mode))
		return "a block device";
	if (S_ISCHR(mode))
		return "a character device";
	if (S_ISFIFO(mode))
		return "a pipe";
	if (S_ISSOCK(mode))
		return "a socket";
	if (S_ISDIR(mode))
		return "a directory";
	return "not a file that holds data";
}

int p2pbuf_target_claim(const struct p2pbuf_bind_args *args,
			struct p2pbuf_error *error)
{
	mode_t mode = args->st.st_mode;
	int flags, code = ENOTBLK;

	if (!S_ISREG(mode) && !S_ISBLK(mode)) {
		if (S_ISFIFO(mode))
			code = ESPIPE;
		else if (S_ISSOCK(mode))
			code = ESOCKTNOSUPPORT;
		else if (S_ISDIR(mode))
			code = EISDIR;
		return p2pbuf_fail(error, code,
				   "%s is %s: I/O is done with block devices and regular files",
				   args->target, p2pbuf_target_kind(mode));
	}

	flags = fcntl(args->fd, F_GETFL);
	if (flags < 0)
		return p2pbuf_fail(error, errno, "%s: %s", args->target,
				   strerrordesc_np(errno));
	if (!(flags & O_DIRECT))
		return p2pbuf_fail(error, EBADR,
				   "%s is %s that is not open with O_DIRECT, so its data would go through the page cache",
				   args->target, p2pbuf_target_kind(mode));
	if (flags & O_APPEND)
		return p2pbuf_fail(error, EINVAL,
				   "%s is open with O_APPEND, which ignores the offset of a write",
				   args->target);
	return 0;
}

/* A kernel or filesystem that does not tell: the logical block, and 512. */
static void align_by_disk(struct p2pbuf_target *target, int fd)
{
	int block = 0;

	target->mem_align = 512;
	target->offset_align = P2PBUF_PAGE;
	if (!ioctl(fd, BLKSSZGET, &block) && block > 0)
		target->offset_align = block;
}

static int align_take(const struct p2pbuf_bind_args *args,
		      struct p2pbuf_target *target, struct p2pbuf_error *error)
{
	struct statx stx;

	if (statx(args->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0)
		return p2pbuf_fail(error, errno, "%s: %s", args->target,
				   strerrordesc_np(errno));
	if (stx.stx_attributes & STATX_ATTR_DAX)
		return p2pbuf_fail(error, EMEDIUMTYPE,
				   "%s lies in memory (DAX), which the CPU copies from and to",
				   args->target);
	if (!(stx.stx_mask & STATX_DIOALIGN)) {
		align_by_disk(target, args->fd);
		return 0;
	}
	if (!stx.stx_dio_offset_align || !stx.stx_dio_mem_align)
		return p2pbuf_fail(error, EMEDIUMTYPE,
				   "the filesystem does no direct I/O on %s (journalled, inline or verified data)",
				   args->target);
	target->offset_align = stx.stx_dio_offset_align;
	target->mem_align = stx.stx_dio_mem_align;

	return 0;
}

static int ext4_judge(const struct p2pbuf_bind_args *args,
		      struct p2pbuf_error *error)
{
	int flags = 0;

	if (ioctl(args->fd, FS_IOC_GETFLAGS, &flags))
		return 0;
	/* Below the filesystem, in the block layer's copy of the data. */
	if (flags & FS_ENCRYPT_FL)
		return p2pbuf_fail(error, EMEDIUMTYPE,
				   "%s is encrypted, which the CPU does",
				   args->target);
	/* Reads are fine, but the claim is about both. */
	if (!(flags & FS_EXTENT_FL))
		return p2pbuf_fail(error, EMEDIUMTYPE,
				   "%s has no extents (an ext2 or ext3 file), so writes into holes go through the page cache",
				   args->target);
	return 0;
}

static int xfs_judge(const struct p2pbuf_bind_args *args,
		     struct p2pbuf_error *error)
{
	struct fsxattr attr = { 0 };

	if (!ioctl(args->fd, FS_IOC_FSGETXATTR, &attr) &&
	    attr.fsx_xflags & FS_XFLAG_REALTIME)
		return p2pbuf_fail(error, EMEDIUMTYPE,
				   "%s lies on the realtime disk of its XFS, and nobody tells which that is",
				   args->target);
	return 0;
}

static int filesystem_judge(const struct p2pbuf_bind_args *args,
			    struct p2pbuf_target *target,
			    struct p2pbuf_error *error)
{
	struct statfs fs;
	int ret = 0;

	if (fstatfs(args->fd, &fs) < 0)
		return p2pbuf_fail(error, errno, "%s: %s", args->target,
				   strerrordesc_np(errno));
	switch ((unsigned long)fs.f_type) {
	case BTRFS_SUPER_MAGIC:
		return p2pbuf_fail(error, EMEDIUMTYPE,
				   "%s lies on btrfs, which makes and checks checksums by CPU",
				   args->target);
	case EXT4_SUPER_MAGIC:
		ret = ext4_judge(args, error);
		break;
	case XFS_SUPER_MAGIC:
		ret = xfs_judge(args, error);
		break;
	default:
		return p2pbuf_fail(error, EMEDIUMTYPE,
				   "%s lies on a filesystem (type %#lx) that is not known to leave the data alone: ext4 and XFS are",
				   args->target, (unsigned long)fs.f_type);
	}
	if (ret < 0)
		return ret;
	return p2pbuf_disks_find(&target->disks, args->st.st_dev, error);
}

int p2pbuf_target_judge(const struct p2pbuf_bind_args *args,
			struct p2pbuf_target *target,
			struct p2pbuf_error *error)
{
	int ret;

	memset(target, 0, sizeof(*target));
	ret = align_take(args, target, error);
	if (ret < 0)
		return ret;

	target->obstacle.size = sizeof(target->obstacle);
	if (S_ISBLK(args->st.st_mode))
		ret = p2pbuf_disks_find(&target->disks, args->st.st_rdev,
					&target->obstacle);
	else
		ret = filesystem_judge(args, target, &target->obstacle);
	if (ret >= 0)
		target->obstacle.code = 0;

	return 0;
}

bool p2pbuf_target_is_direct(int fd)
{
	struct statx stx;

	return statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0 ||
	       !(stx.stx_mask & STATX_DIOALIGN) ||
	       (stx.stx_dio_offset_align && stx.stx_dio_mem_align);
}

uint64_t p2pbuf_target_capacity(int fd)
{
	uint64_t bytes = 0;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return 0;
	if (!S_ISBLK(st.st_mode))
		return st.st_size;
	return ioctl(fd, BLKGETSIZE64, &bytes) ? 0 : bytes;
}
