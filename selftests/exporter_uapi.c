// SPDX-License-Identifier: GPL-2.0
/*
 * The discipline of the render node's ioctls: struct sizes, pads, flags, and
 * that what is refused changes nothing.
 */
#include <stddef.h>
#include <stdlib.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_pci.h"
#include "p2pbuf_test_region.h"

#define SIZE		(1ULL << 20)
#define TAIL		64

FIXTURE(uapi)
{
	int fd;
	struct drm_p2pbuf_gem_create bo;
};

FIXTURE_SETUP(uapi)
{
	self->fd = ptx_open(0);
	if (self->fd < 0)
		SKIP(return, "no render node of the exporter");
	ASSERT_EQ(0, ptx_create(self->fd, SIZE, P2PBUF_PLACEMENT_VRAM, 0,
				&self->bo));
}

FIXTURE_TEARDOWN(uapi)
{
	if (self->fd >= 0)
		close(self->fd);
}

/* One variant for each ioctl, with arguments that are fine. */
FIXTURE_VARIANT(uapi)
{
	unsigned long request;
	/* offset of a field that must be zero, -1 if there is none */
	int pad;
	/* offset of a flags field that is read, -1 if there is none */
	int flags;
	/* offset of a handle that is read, -1 if there is none */
	int handle;
	union {
		struct drm_p2pbuf_gem_create create;
		struct drm_p2pbuf_gem_move move;
	} good;
};

FIXTURE_VARIANT_ADD(uapi, device_info)
{
	.request = DRM_IOCTL_P2PBUF_DEVICE_INFO,
	.pad = -1,
	.flags = -1,
	.handle = -1,
};

FIXTURE_VARIANT_ADD(uapi, gem_create)
{
	.request = DRM_IOCTL_P2PBUF_GEM_CREATE,
	.pad = offsetof(struct drm_p2pbuf_gem_create, pad),
	.flags = offsetof(struct drm_p2pbuf_gem_create, flags),
	.handle = -1,
	.good.create = {
		.size = SIZE,
		.placement = P2PBUF_PLACEMENT_VRAM,
	},
};

FIXTURE_VARIANT_ADD(uapi, gem_move)
{
	.request = DRM_IOCTL_P2PBUF_GEM_MOVE,
	.pad = offsetof(struct drm_p2pbuf_gem_move, pad),
	.flags = offsetof(struct drm_p2pbuf_gem_move, flags),
	.handle = offsetof(struct drm_p2pbuf_gem_move, handle),
	.good.move = { .placement = P2PBUF_PLACEMENT_VRAM },
};

FIXTURE_VARIANT_ADD(uapi, gem_info)
{
	.request = DRM_IOCTL_P2PBUF_GEM_INFO,
	.pad = offsetof(struct drm_p2pbuf_gem_info, pad),
	.flags = -1,
	.handle = offsetof(struct drm_p2pbuf_gem_info, handle),
};

struct args {
	char bytes[512];
};

/* Good arguments, with poison where the kernel must not write. */
static struct args good_args(struct _test_data_uapi *self,
			     const struct _fixture_variant_uapi *variant)
{
	size_t size = _IOC_SIZE(variant->request);
	struct args args;

	memset(&args, 0xa5, sizeof(args));
	memset(args.bytes, 0, size);
	memcpy(args.bytes, &variant->good,
	       size < sizeof(variant->good) ? size : sizeof(variant->good));
	if (variant->handle >= 0)
		memcpy(args.bytes + variant->handle, &self->bo.handle,
		       sizeof(self->bo.handle));
	return args;
}

static void set_u32(struct args *args, int offset, __u32 value)
{
	memcpy(args->bytes + offset, &value, sizeof(value));
}

static unsigned long with_size(unsigned long request, size_t size)
{
	return _IOC(_IOC_DIR(request), _IOC_TYPE(request), _IOC_NR(request),
		    size);
}

/* Bytes of VRAM in use: a refused create must not leak an object. */
static __u64 vram_used(int fd)
{
	struct drm_p2pbuf_device_info info;

	return ptx_device_info(fd, &info) ? ~0ULL : info.vram_used;
}

TEST_F(uapi, accepted)
{
	struct args args = good_args(self, variant);
	size_t size = _IOC_SIZE(variant->request);
	size_t i;

	ASSERT_EQ(0, ptx_ioctl(self->fd, variant->request, &args));
	for (i = size; i < sizeof(args.bytes); i++)
		ASSERT_EQ((char)0xa5, args.bytes[i]);
}

TEST_F(uapi, shorter_is_einval)
{
	size_t size = _IOC_SIZE(variant->request);
	__u64 before = vram_used(self->fd);
	size_t shorter;

	for (shorter = 0; shorter < size; shorter++) {
		struct args args = good_args(self, variant);
		struct args poison = args;

		EXPECT_EQ(-EINVAL,
			  ptx_ioctl(self->fd,
				    with_size(variant->request, shorter),
				    &args));
		EXPECT_EQ(0, memcmp(&args, &poison, sizeof(args)));
	}
	EXPECT_EQ(before, vram_used(self->fd));
}

TEST_F(uapi, longer_with_zero_tail_is_the_same)
{
	size_t size = _IOC_SIZE(variant->request);
	struct args args = good_args(self, variant);
	struct args exact = good_args(self, variant);
	size_t i;

	memset(args.bytes + size, 0, TAIL);
	ASSERT_EQ(0, ptx_ioctl(self->fd,
			       with_size(variant->request, size + TAIL),
			       &args));
	ASSERT_EQ(0, ptx_ioctl(self->fd, variant->request, &exact));
	/* Two creates differ, in handle and VRAM in use. */
	if (variant->request == DRM_IOCTL_P2PBUF_GEM_MOVE ||
	    variant->request == DRM_IOCTL_P2PBUF_GEM_INFO)
		EXPECT_EQ(0, memcmp(&args, &exact, size));
	for (i = size; i < size + TAIL; i++)
		ASSERT_EQ(0, args.bytes[i]);
	for (; i < sizeof(args.bytes); i++)
		ASSERT_EQ((char)0xa5, args.bytes[i]);
}

TEST_F(uapi, longer_with_nonzero_tail_is_e2big)
{
	size_t size = _IOC_SIZE(variant->request);
	__u64 before = vram_used(self->fd);
	size_t at;

	for (at = size; at < size + TAIL; at++) {
		struct args args = good_args(self, variant);
		struct args poison;

		memset(args.bytes + size, 0, TAIL);
		args.bytes[at] = 1;
		poison = args;
		EXPECT_EQ(-E2BIG,
			  ptx_ioctl(self->fd,
				    with_size(variant->request, size + TAIL),
				    &args));
		EXPECT_EQ(0, memcmp(&args, &poison, sizeof(args)));
	}
	EXPECT_EQ(before, vram_used(self->fd));
}

TEST_F(uapi, tail_that_cannot_be_read_is_efault)
{
	size_t size = _IOC_SIZE(variant->request);
	struct args args = good_args(self, variant);
	char *two;

	/* The struct ends where readable memory ends. */
	two = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, two);
	ASSERT_EQ(0, mprotect(two + 4096, 4096, PROT_NONE));
	memcpy(two + 4096 - size, args.bytes, size);

	EXPECT_EQ(-EFAULT, ptx_ioctl(self->fd,
				     with_size(variant->request, size + TAIL),
				     two + 4096 - size));
	EXPECT_EQ(0, ptx_ioctl(self->fd, variant->request,
			       two + 4096 - size));
	munmap(two, 8192);
}

TEST_F(uapi, wrong_direction_is_einval)
{
	struct args args = good_args(self, variant);
	unsigned int dir;

	for (dir = 0; dir < 4; dir++) {
		if (dir == _IOC_DIR(variant->request))
			continue;
		EXPECT_EQ(-EINVAL,
			  ptx_ioctl(self->fd,
				    _IOC(dir, _IOC_TYPE(variant->request),
					 _IOC_NR(variant->request),
					 _IOC_SIZE(variant->request)),
				    &args));
	}
}

TEST_F(uapi, pad_is_einval)
{
	__u64 before = vram_used(self->fd);
	unsigned int bit;

	if (variant->pad < 0)
		return;

	for (bit = 0; bit < 32; bit++) {
		struct args args = good_args(self, variant);

		set_u32(&args, variant->pad, 1U << bit);
		EXPECT_EQ(-EINVAL, ptx_ioctl(self->fd, variant->request,
					     &args));
	}
	EXPECT_EQ(before, vram_used(self->fd));
}

TEST_F(uapi, unknown_flags_are_einval)
{
	__u32 known = 0;
	__u64 before = vram_used(self->fd);
	unsigned int bit;

	if (variant->flags < 0)
		return;
	if (variant->request == DRM_IOCTL_P2PBUF_GEM_CREATE)
		known = P2PBUF_CREATE_VRAM_ONLY | P2PBUF_CREATE_WINDOW;
	if (variant->request == DRM_IOCTL_P2PBUF_GEM_MOVE)
		known = P2PBUF_MOVE_NOWAIT;

	for (bit = 0; bit < 32; bit++) {
		struct args args = good_args(self, variant);

		if (known & 1U << bit)
			continue;
		set_u32(&args, variant->flags, 1U << bit);
		EXPECT_EQ(-EINVAL, ptx_ioctl(self->fd, variant->request,
					     &args));
	}
	EXPECT_EQ(before, vram_used(self->fd));
}

TEST_F(uapi, unknown_handle_is_enoent)
{
	static const __u32 handles[] = { 0, 0x7fffffff, 0xffffffff };
	unsigned int i;

	if (variant->handle < 0)
		return;

	for (i = 0; i < ARRAY_SIZE(handles); i++) {
		struct args args = good_args(self, variant);

		set_u32(&args, variant->handle, handles[i]);
		EXPECT_EQ(-ENOENT, ptx_ioctl(self->fd, variant->request,
					     &args));
	}
}

TEST_F(uapi, bad_pointer_is_efault)
{
	EXPECT_EQ(-EFAULT, ptx_ioctl(self->fd, variant->request, NULL));
	EXPECT_EQ(-EFAULT, ptx_ioctl(self->fd, variant->request,
				     (void *)-4096UL));
}

/* What is not about one ioctl. */
FIXTURE(node)
{
	int fd;
};

FIXTURE_SETUP(node)
{
	self->fd = ptx_open(0);
	if (self->fd < 0)
		SKIP(return, "no render node of the exporter");
}

FIXTURE_TEARDOWN(node)
{
	if (self->fd >= 0)
		close(self->fd);
}

TEST_F(node, unknown_ioctls_are_einval)
{
	struct drm_p2pbuf_gem_info info = {};
	unsigned int nr;

	for (nr = DRM_P2PBUF_PEER_INFO + 1; nr < DRM_COMMAND_END -
	     DRM_COMMAND_BASE; nr++)
		EXPECT_EQ(-EINVAL,
			  ptx_ioctl(self->fd,
				    DRM_IOWR(DRM_COMMAND_BASE + nr,
					     struct drm_p2pbuf_gem_info),
				    &info));
	EXPECT_EQ(-ENOTTY, ptx_ioctl(self->fd,
				     _IOWR('Q', 0, struct drm_p2pbuf_gem_info),
				     &info));
}

TEST_F(node, placement_is_one_known_bit)
{
	static const __u32 bad[] = {
		0, P2PBUF_PLACEMENT_VRAM | P2PBUF_PLACEMENT_SYSTEM, 1U << 2,
		1U << 31, P2PBUF_PLACEMENT_VRAM | 1U << 31, ~0U,
	};
	struct drm_p2pbuf_gem_create bo, good;
	unsigned int i;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, P2PBUF_PLACEMENT_SYSTEM, 0,
				&good));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, ptx_create(self->fd, SIZE, bad[i], 0, &bo));
		EXPECT_EQ(-EINVAL, ptx_move(self->fd, good.handle, bad[i], 0));
	}
}

TEST_F(node, create_combinations)
{
	const __u32 both = P2PBUF_CREATE_VRAM_ONLY | P2PBUF_CREATE_WINDOW;
	struct drm_p2pbuf_gem_create bo = {
		.size = SIZE,
		.window_offset = 4096,
		.placement = P2PBUF_PLACEMENT_VRAM,
	};

	/* An offset without a window. */
	EXPECT_EQ(-EINVAL, ptx_ioctl(self->fd, DRM_IOCTL_P2PBUF_GEM_CREATE,
				     &bo));
	EXPECT_EQ(-EINVAL, ptx_create(self->fd, SIZE, P2PBUF_PLACEMENT_VRAM,
				      both, &bo));
	EXPECT_EQ(-EINVAL, ptx_create(self->fd, SIZE, P2PBUF_PLACEMENT_SYSTEM,
				      P2PBUF_CREATE_VRAM_ONLY, &bo));
	EXPECT_EQ(-EINVAL, ptx_create(self->fd, SIZE, P2PBUF_PLACEMENT_SYSTEM,
				      P2PBUF_CREATE_WINDOW, &bo));
}

TEST_F(node, sizes)
{
	static const __u64 misaligned[] = {
		0, 1, 512, 4095, 4097, SIZE - 1, SIZE + 2048, ~0ULL,
	};
	static const __u64 huge[] = {
		1ULL << 40, 1ULL << 52, 1ULL << 63, ~4095ULL,
	};
	struct drm_p2pbuf_device_info info;
	struct drm_p2pbuf_gem_create bo;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(misaligned); i++) {
		EXPECT_EQ(-EDOM, ptx_create(self->fd, misaligned[i],
					    P2PBUF_PLACEMENT_VRAM, 0, &bo));
		EXPECT_EQ(-EDOM, ptx_create(self->fd, misaligned[i],
					    P2PBUF_PLACEMENT_SYSTEM, 0, &bo));
		EXPECT_EQ(-EDOM, ptx_create_window(self->fd, misaligned[i], 0,
						   &bo));
		if (misaligned[i])
			EXPECT_EQ(-EDOM,
				  ptx_create_window(self->fd, 4096,
						    misaligned[i], &bo));
	}

	for (i = 0; i < ARRAY_SIZE(huge); i++) {
		EXPECT_EQ(-ENOSPC, ptx_create(self->fd, huge[i],
					      P2PBUF_PLACEMENT_VRAM, 0, &bo));
		EXPECT_EQ(-ENOSPC, ptx_create(self->fd, huge[i],
					      P2PBUF_PLACEMENT_SYSTEM, 0, &bo));
		EXPECT_EQ(-ENOSPC, ptx_create(self->fd, huge[i],
					      P2PBUF_PLACEMENT_VRAM,
					      P2PBUF_CREATE_VRAM_ONLY, &bo));
		EXPECT_EQ(-ERANGE, ptx_create_window(self->fd, huge[i], 0,
						     &bo));
		EXPECT_EQ(-ERANGE, ptx_create_window(self->fd, 4096, huge[i],
						     &bo));
	}

	/* All of it fits, one page more does not. */
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	EXPECT_EQ(-ENOSPC, ptx_create(self->fd, info.vram_size + 4096,
				      P2PBUF_PLACEMENT_VRAM, 0, &bo));
	ASSERT_EQ(0, ptx_create(self->fd, info.vram_size,
				P2PBUF_PLACEMENT_VRAM, 0, &bo));
	ASSERT_EQ(0, ptx_close(self->fd, bo.handle));
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	EXPECT_EQ(0, info.vram_used);
}

/* A BAR without a whole page has nothing to offer; registers are such. */
TEST(bar_shorter_than_a_page)
{
	static const char bind[] = "/sys/bus/pci/drivers/" PTX_DRIVER_NAME
				   "/bind";
	struct ptr_region region;
	struct pci_bar bar;
	int ret;

	/* Not the first: that shall stay the first, bound again. */
	if (ptr_find(1, &region))
		SKIP(return, "no second region");
	if (pci_bar_read(region.name, 0, &bar) || bar.size >= 4096 ||
	    bar.start % 4096)
		SKIP(return, "no such BAR here");
	ASSERT_EQ(0, ptr_param("bar", "0"));
	ret = ptr_unbind(&region);
	if (!ret)
		ret = ptk_write(bind, region.name);
	EXPECT_EQ(0, ptr_param("bar", "-1"));
	EXPECT_EQ(-ERANGE, ret);
	/* What should not have been, goes. */
	if (!ret)
		EXPECT_EQ(0, ptr_unbind(&region));
	ASSERT_EQ(0, ptr_probe(&region));
	ret = ptr_open(&region);
	EXPECT_LE(0, ret);
	close(ret);
}

TEST_HARNESS_MAIN
