// SPDX-License-Identifier: GPL-2.0
/*
 * What stands between unmodified programs of others and this test machine.
 * They know some GPUs by name, and p2pbuf's exporter is none of them; and the
 * provider of the test NIC cannot register dma-bufs. Loaded by LD_PRELOAD:
 *
 * dmabuf_*()	take the place of pyverbs's own, which allocate from amdgpu and
 *		i915
 * mmap()	of the exporter's render node from offset 0, which the kernel would
 *		refuse, allocates VRAM and maps that: perftest's --mmap=FILE
 * ibv_reg_mr()	of memory that came from there registers its dma-buf
 *
 * and ibv_reg_dmabuf_mr(), see p2pbuf_test_provider.h. Each says what it did, so
 * that a run can be seen to have taken this way.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "p2pbuf_test_exporter.h"
#include "p2pbuf_test_provider.h"

#define PAGE_ALIGN(n)	(((n) + 4095) & ~4095UL)

/* ---- pyverbs ---- */

struct dmabuf {
	int node;
	int fd;
	uint32_t handle;
	uint64_t map_offset;
};

struct dmabuf *dmabuf_alloc(uint64_t size, int gpu, int gtt);
void dmabuf_free(struct dmabuf *buf);
int dmabuf_get_drm_fd(struct dmabuf *buf);
int dmabuf_get_fd(struct dmabuf *buf);
uint64_t dmabuf_get_offset(struct dmabuf *buf);

static int vram(int node, uint64_t size, int system, struct dmabuf *buf)
{
	struct drm_p2pbuf_gem_create bo;
	int ret;

	ret = ptx_create(node, PAGE_ALIGN(size), system ?
			 P2PBUF_PLACEMENT_SYSTEM : P2PBUF_PLACEMENT_VRAM, 0,
			 &bo);
	if (ret)
		return ret;
	buf->node = node;
	buf->handle = bo.handle;
	buf->map_offset = bo.mmap_offset;
	buf->fd = ptx_export(node, bo.handle, true);
	if (buf->fd >= 0)
		return 0;
	ptx_close(node, bo.handle);
	return buf->fd;
}

struct dmabuf *dmabuf_alloc(uint64_t size, int gpu, int gtt)
{
	struct dmabuf *buf = calloc(1, sizeof(*buf));
	int node, ret;

	if (!buf)
		return NULL;
	node = ptx_open(gpu);
	ret = node < 0 ? node : vram(node, size, gtt, buf);
	if (!ret)
		return buf;
	if (node >= 0)
		close(node);
	free(buf);
	errno = node < 0 ? ENOENT : -ret;
	return NULL;
}

void dmabuf_free(struct dmabuf *buf)
{
	if (!buf)
		return;
	close(buf->fd);
	ptx_close(buf->node, buf->handle);
	close(buf->node);
	free(buf);
}

int dmabuf_get_drm_fd(struct dmabuf *buf)
{
	return buf ? buf->node : -1;
}

int dmabuf_get_fd(struct dmabuf *buf)
{
	return buf ? buf->fd : -1;
}

uint64_t dmabuf_get_offset(struct dmabuf *buf)
{
	return buf ? buf->map_offset : ~0ULL;
}

/* ---- perftest ---- */

/* What mmap() has allocated; a program has one such buffer, or a few. */
static struct {
	char *start;
	size_t size;
	int fd;
} mapped[16];
static unsigned int mappings;

static void *allocate(int node, size_t size, int prot)
{
	struct dmabuf buf;
	int ret;
	void *p;

	ret = mappings == sizeof(mapped) / sizeof(mapped[0]) ? -ENOSPC :
	      vram(node, size, 0, &buf);
	if (ret) {
		errno = -ret;
		return MAP_FAILED;
	}
	/* through the dma-buf, which outlives the node */
	p = (void *)syscall(SYS_mmap, NULL, size, prot, MAP_SHARED, buf.fd, 0);
	if (p == MAP_FAILED) {
		close(buf.fd);
		return p;
	}
	mapped[mappings].start = p;
	mapped[mappings].size = PAGE_ALIGN(size);
	mapped[mappings++].fd = buf.fd;
	fprintf(stderr, "p2pbuf: %zu bytes of VRAM at %p\n", size, p);
	return p;
}

void *mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (!addr && fd >= 0 && flags == MAP_SHARED && !offset &&
	    ptx_is_exporter(fd))
		return allocate(fd, size, prot);
	return (void *)syscall(SYS_mmap, addr, size, prot, flags, fd, offset);
}

void *mmap64(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
	__attribute__((alias("mmap")));

static struct ibv_mr *reg_mapped(struct ibv_pd *pd, void *addr, size_t length,
				 uint64_t iova, unsigned int access)
{
	char *start = addr;
	struct ibv_mr *mr;
	unsigned int i;

	for (i = 0; i < mappings; i++) {
		if (start < mapped[i].start || start >= mapped[i].start +
		    mapped[i].size)
			continue;
		mr = ibv_reg_dmabuf_mr(pd, start - mapped[i].start, length,
				       iova, mapped[i].fd, access);
		if (!mr)
			return NULL;
		mr->addr = addr;
		fprintf(stderr, "p2pbuf: dma-buf registered, %zu bytes at %p\n",
			length, addr);
		return mr;
	}
	errno = 0;
	return NULL;
}

#undef ibv_reg_mr
struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length,
			  int access)
{
	struct ibv_mr *mr = reg_mapped(pd, addr, length, (uintptr_t)addr,
				       access);
	struct ibv_mr *(*next)(struct ibv_pd *pd, void *addr, size_t length,
			       int access);

	if (mr || errno)
		return mr;
	next = dlsym(RTLD_NEXT, "ibv_reg_mr");
	return next(pd, addr, length, access);
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length,
				uint64_t iova, unsigned int access)
{
	struct ibv_mr *mr = reg_mapped(pd, addr, length, iova, access);
	struct ibv_mr *(*next)(struct ibv_pd *pd, void *addr, size_t length,
			       uint64_t iova, unsigned int access);

	if (mr || errno)
		return mr;
	next = dlsym(RTLD_NEXT, "ibv_reg_mr_iova2");
	return next(pd, addr, length, iova, access);
}
