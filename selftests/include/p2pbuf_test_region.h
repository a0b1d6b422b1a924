/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Regions as an administrator handles them: bind, unbind, module parameters.
 *
 * A region is named by its PCI function, so it can be found again after its
 * render node has changed.
 */
#ifndef P2PBUF_TEST_REGION_H
#define P2PBUF_TEST_REGION_H

#include <setjmp.h>
#include <signal.h>

#include "p2pbuf_test_exporter.h"
#include "p2pbuf_test_write.h"

struct ptr_region {
	__u32 pci;
	char name[16];
};

/* The @index-th region, see ptx_open(). */
static inline int ptr_find(unsigned int index, struct ptr_region *region)
{
	struct drm_p2pbuf_device_info info;
	int fd = ptx_open(index), ret;

	if (fd < 0)
		return fd;
	ret = ptx_device_info(fd, &info);
	close(fd);
	region->pci = info.pci;
	snprintf(region->name, sizeof(region->name), "%04x:%02x:%02x.%u",
		 info.pci >> 16, info.pci >> 8 & 0xff, info.pci >> 3 & 0x1f,
		 info.pci & 7);
	return ret;
}

/* A new file on the region. */
static inline int ptr_open(const struct ptr_region *region)
{
	struct drm_p2pbuf_device_info info;
	unsigned int index;
	int fd;

	for (index = 0; (fd = ptx_open(index)) >= 0; index++) {
		if (!ptx_device_info(fd, &info) && info.pci == region->pci)
			return fd;
		close(fd);
	}
	return -ENODEV;
}

static inline int ptr_unbind(const struct ptr_region *region)
{
	char path[96];

	snprintf(path, sizeof(path),
		 "/sys/bus/pci/devices/%s/driver/unbind", region->name);
	return ptk_write(path, region->name);
}

/* To whatever driver its driver_override names. */
static inline int ptr_probe(const struct ptr_region *region)
{
	return ptk_write("/sys/bus/pci/drivers_probe", region->name);
}

static inline int ptr_override(const struct ptr_region *region,
			       const char *driver)
{
	char path[96];

	snprintf(path, sizeof(path),
		 "/sys/bus/pci/devices/%s/driver_override", region->name);
	return ptk_write(path, driver);
}

static inline int ptr_rebind(const struct ptr_region *region)
{
	int ret = ptr_unbind(region);

	return ret ? ret : ptr_probe(region);
}

/* A parameter of the exporter's module. */
static inline int ptr_param(const char *name, const char *value)
{
	char path[96];

	snprintf(path, sizeof(path),
		 "/sys/module/p2pbuf_exporter/parameters/%s", name);
	return ptk_write(path, value);
}

/* ---- memory whose device went ----------------------------------------------- */

static sigjmp_buf ptr_on_bus_error;

static inline void ptr_bus_error(int sig)
{
	(void)sig;
	siglongjmp(ptr_on_bus_error, 1);
}

/* Does reading there raise SIGBUS? */
static inline bool ptr_is_gone(const volatile void *p)
{
	struct sigaction act = { .sa_handler = ptr_bus_error }, old;
	bool gone;

	sigaction(SIGBUS, &act, &old);
	gone = sigsetjmp(ptr_on_bus_error, 1);
	if (!gone)
		(void)*(const volatile char *)p;
	sigaction(SIGBUS, &old, NULL);
	return gone;
}

#endif /* P2PBUF_TEST_REGION_H */
