// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The exporter: an open render node and the GEM handles made on it. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <drm/p2pbuf_drm.h>

#include "internal.h"

#define DRIVER_NAME	"p2pbuf_exporter"
#define DRI_DIR		"/dev/dri"

int p2pbuf_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	/* EAGAIN: DMA_BUF_IOCTL_SYNC asks for the same as EINTR. */
	do {
		ret = ioctl(fd, request, arg);
	} while (ret < 0 && (errno == EINTR || errno == EAGAIN));

	return ret < 0 ? -errno : ret;
}

/* An open p2pbuf render node: its fd, -ENOTTY for another driver's, -errno. */
static int open_node(const char *node)
{
	char name[sizeof(DRIVER_NAME)] = "";
	struct drm_version version = {
		.name = name,
		.name_len = sizeof(name) - 1,
	};
	int fd, ret;

	fd = open(node, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = p2pbuf_ioctl(fd, DRM_IOCTL_VERSION, &version);
	if (ret < 0 || version.name_len != sizeof(name) - 1 ||
	    strcmp(name, DRIVER_NAME)) {
		close(fd);
		return -ENOTTY;
	}

	return fd;
}

static int is_render_node(const struct dirent *entry)
{
	return !strncmp(entry->d_name, "renderD", 7);
}

/* An error of open() that leaves what was to be opened unknown. */
static bool is_obstacle(int code)
{
	return code == EACCES || code == EMFILE || code == ENFILE ||
	       code == ENOMEM;
}

/*
 * The first node in @dir that is an exporter's; its device file goes to @node.
 * -ENODEV when there is none; another error when one of those that could not be
 * opened might be.
 */
static int open_first(const char *dir, char *node, size_t size)
{
	struct dirent **entries;
	int fd, n, i, ret = -ENODEV;

	n = scandir(dir, &entries, is_render_node, versionsort);
	if (n < 0)
		return is_obstacle(errno) ? -errno : -ENODEV;
	for (i = 0; i < n; i++) {
		if (ret < 0) {
			snprintf(node, size, DRI_DIR "/%.40s", entries[i]->d_name);
			fd = open_node(node);
			if (fd >= 0 || is_obstacle(-fd))
				ret = fd;
		}
		free(entries[i]);
	}
	free(entries);

	return ret;
}

static int open_path(const char *path, char *node, size_t size,
		     struct p2pbuf_error *error)
{
	char dir[64];
	int fd;

	if (!path) {
		fd = open_first(DRI_DIR, node, size);
		path = "any exporter";
	} else if (strchr(path, '/')) {
		if ((size_t)snprintf(node, size, "%s", path) >= size)
			return p2pbuf_fail(error, ENAMETOOLONG,
					   "the path of the node is too long");
		fd = open_node(path);
	} else {
		snprintf(dir, sizeof(dir), "/sys/bus/pci/devices/%.20s/drm", path);
		fd = open_first(dir, node, size);
	}

	switch (fd) {
	case -ENODEV:
		return p2pbuf_fail(error, ENODEV,
				   "cannot find %s: is a PCI function bound to the p2pbuf_exporter driver?",
				   path);
	case -EACCES:
		return p2pbuf_fail(error, EACCES,
				   "cannot open %s: this process may not open its render node, the render group may",
				   path);
	case -ENOTTY:
		return p2pbuf_fail(error, ENOTTY,
				   "%s is not a render node of the p2pbuf_exporter driver",
				   path);
	}
	if (fd < 0)
		return p2pbuf_fail(error, -fd, "cannot open %s: %s", path,
				   strerrordesc_np(-fd));
	return fd;
}

int p2pbuf_exporter_open(const char *path, struct p2pbuf_exporter **out,
			 struct p2pbuf_error *error)
{
	struct drm_p2pbuf_device_info info = { 0 };
	struct p2pbuf_exporter *exporter;
	int ret;

	exporter = calloc(1, sizeof(*exporter));
	if (!exporter)
		return p2pbuf_fail(error, ENOMEM, "out of memory");

	exporter->fd = open_path(path, exporter->node, sizeof(exporter->node),
				 error);
	if (exporter->fd < 0) {
		ret = exporter->fd;
		goto free;
	}
	ret = p2pbuf_ioctl(exporter->fd, DRM_IOCTL_P2PBUF_DEVICE_INFO, &info);
	if (ret < 0) {
		ret = p2pbuf_fail(error, -ret, "%s does not answer: %s",
				  exporter->node, p2pbuf_strerror(ret));
		goto close;
	}
	exporter->is_paged = info.flags & P2PBUF_DEVICE_PAGED;
	exporter->io_priority = info.io_priority;
	exporter->pci = info.pci;
	exporter->bar = info.bar;
	p2pbuf_pci_text(info.pci, exporter->device);
	ret = pthread_mutex_init(&exporter->lock, NULL);
	if (ret) {
		ret = p2pbuf_fail(error, ret, "cannot make a lock");
		goto close;
	}
	atomic_init(&exporter->refs, 1);
	*out = exporter;

	return 0;

close:
	close(exporter->fd);
free:
	free(exporter);
	return ret;
}

int p2pbuf_exporter_info(struct p2pbuf_exporter *exporter,
			 struct p2pbuf_exporter_info *info)
{
	struct drm_p2pbuf_device_info raw = { 0 };
	struct p2pbuf_exporter_info mine = { 0 };
	int ret;

	ret = p2pbuf_ioctl(exporter->fd, DRM_IOCTL_P2PBUF_DEVICE_INFO, &raw);
	if (ret < 0)
		return ret;

	mine.flags = raw.flags & P2PBUF_DEVICE_PAGED ? P2PBUF_EXPORTER_PAGED : 0;
	mine.bar = raw.bar;
	mine.vram_size = raw.vram_size;
	mine.vram_used = raw.vram_used;
	mine.resident_limit = raw.resident_limit;
	mine.resident_used = raw.resident_used;
	mine.pin_limit = raw.pin_limit;
	mine.pin_used = raw.pin_used;
	mine.page_size = raw.page_size;
	mine.pci = raw.pci;
	mine.io_priority = raw.io_priority;
	memcpy(mine.device, exporter->device, sizeof(mine.device));
	memcpy(mine.node, exporter->node, sizeof(mine.node));

	return p2pbuf_struct_out(info, &mine, sizeof(mine), sizeof(mine));
}

int p2pbuf_exporter_fd(struct p2pbuf_exporter *exporter)
{
	return exporter->fd;
}

struct p2pbuf_exporter *p2pbuf_exporter_get(struct p2pbuf_exporter *exporter)
{
	atomic_fetch_add(&exporter->refs, 1);
	return exporter;
}

void p2pbuf_exporter_close(struct p2pbuf_exporter *exporter)
{
	if (!exporter || atomic_fetch_sub(&exporter->refs, 1) != 1)
		return;

	/* Buffers hold references, so no handle is left. */
	close(exporter->fd);
	pthread_mutex_destroy(&exporter->lock);
	free(exporter);
}

int p2pbuf_gem_import(struct p2pbuf_exporter *exporter, int dmabuf_fd,
		      uint32_t *handle)
{
	struct drm_prime_handle prime = { .fd = dmabuf_fd };
	struct p2pbuf_gem *gem, *fresh;
	int ret;

	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;

	/* The lock spans both: a handle just found must not be closed. */
	pthread_mutex_lock(&exporter->lock);
	ret = p2pbuf_ioctl(exporter->fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime);
	if (ret < 0)
		goto unlock;
	for (gem = exporter->handles; gem; gem = gem->next)
		if (gem->handle == prime.handle)
			break;
	if (!gem) {
		gem = fresh;
		fresh = NULL;
		gem->handle = prime.handle;
		gem->next = exporter->handles;
		exporter->handles = gem;
	}
	gem->refs++;
	*handle = gem->handle;
	ret = 0;
unlock:
	pthread_mutex_unlock(&exporter->lock);
	free(fresh);
	return ret;
}

void p2pbuf_gem_put(struct p2pbuf_exporter *exporter, uint32_t handle)
{
	struct drm_gem_close args = { .handle = handle };
	struct p2pbuf_gem **link, *gem;

	pthread_mutex_lock(&exporter->lock);
	for (link = &exporter->handles; (gem = *link); link = &gem->next)
		if (gem->handle == handle)
			break;
	if (gem && !--gem->refs) {
		*link = gem->next;
		free(gem);
		p2pbuf_ioctl(exporter->fd, DRM_IOCTL_GEM_CLOSE, &args);
	}
	pthread_mutex_unlock(&exporter->lock);
}
