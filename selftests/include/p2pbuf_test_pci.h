/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI functions through sysfs, for tests: find them, read their BARs, read and
 * write their config space.
 *
 * Functions are named as sysfs does, "0000:01:00.0". Calls return 0 or -errno
 * unless they say otherwise.
 */
#ifndef P2PBUF_TEST_PCI_H
#define P2PBUF_TEST_PCI_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/types.h>

#define PCI_NAME_MAX	16
#define PCI_DEVICES	"/sys/bus/pci/devices"

struct pci_bar {
	__u64 start;
	__u64 size;
};

static inline bool pci_is_name(const char *name)
{
	unsigned int domain, bus, dev, fn;
	char rest;

	return sscanf(name, "%x:%x:%x.%u%c", &domain, &bus, &dev, &fn,
		      &rest) == 4;
}

/* The form in which the uapi names a function. */
static inline __u32 pci_id(const char *name)
{
	unsigned int domain, bus, dev, fn;

	if (sscanf(name, "%x:%x:%x.%u", &domain, &bus, &dev, &fn) != 4)
		return 0xffffffff;
	return domain << 16 | bus << 8 | dev << 3 | fn;
}

static inline int pci_from_env(const char *variable, char *name)
{
	const char *value = getenv(variable);

	if (!value || !pci_is_name(value) || strlen(value) >= PCI_NAME_MAX)
		return -ENODEV;
	strcpy(name, value);
	return 0;
}

/* A number in a sysfs attribute, or -errno. */
static inline long pci_attr(const char *name, const char *attr, int base)
{
	char path[128], text[32];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", name, attr);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -EIO;
	text[n] = 0;
	return strtol(text, NULL, base);
}

static inline int pci_attr_write(const char *name, const char *attr,
				 const char *value)
{
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", name, attr);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, value, strlen(value));
	close(fd);
	return n < 0 ? -errno : 0;
}

/* The first function that @match says yes to, in the order of names. */
static inline int pci_find(bool (*match)(const char *name, const void *arg),
			   const void *arg, char *name)
{
	struct dirent **list;
	int i, n, ret = -ENODEV;

	n = scandir(PCI_DEVICES, &list, NULL, alphasort);
	if (n < 0)
		return -errno;
	for (i = 0; i < n; i++) {
		if (ret && pci_is_name(list[i]->d_name) &&
		    strlen(list[i]->d_name) < PCI_NAME_MAX &&
		    match(list[i]->d_name, arg)) {
			strcpy(name, list[i]->d_name);
			ret = 0;
		}
		free(list[i]);
	}
	free(list);
	return ret;
}

static inline bool pci_match_id(const char *name, const void *arg)
{
	const long *id = arg;

	return pci_attr(name, "vendor", 16) == id[0] &&
	       pci_attr(name, "device", 16) == id[1];
}

static inline int pci_by_id(long vendor, long device, char *name)
{
	long id[2] = { vendor, device };

	return pci_find(pci_match_id, id, name);
}

static inline bool pci_match_attr(const char *name, const void *arg)
{
	return pci_attr(name, arg, 10) > 0;
}

/* The first function with an attribute that is a number above zero. */
static inline int pci_by_attr(const char *attr, char *name)
{
	return pci_find(pci_match_attr, attr, name);
}

/* The function that a symbolic link of @name points to. */
static inline int pci_link(const char *name, const char *link, char *to)
{
	char path[128], target[PATH_MAX], *last;
	ssize_t n;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", name, link);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = 0;
	last = strrchr(target, '/');
	if (!last || !pci_is_name(last + 1) || strlen(last + 1) >= PCI_NAME_MAX)
		return -ENODEV;
	strcpy(to, last + 1);
	return 0;
}

/* The bridge above @name; -ENODEV on a root bus. */
static inline int pci_upstream(const char *name, char *bridge)
{
	char path[64], full[PATH_MAX], *last;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s", name);
	if (!realpath(path, full))
		return -errno;
	last = strrchr(full, '/');
	if (!last)
		return -ENODEV;
	*last = 0;
	last = strrchr(full, '/');
	if (!last || !pci_is_name(last + 1) || strlen(last + 1) >= PCI_NAME_MAX)
		return -ENODEV;
	strcpy(bridge, last + 1);
	return 0;
}

static inline int pci_bar_read(const char *name, int index, struct pci_bar *bar)
{
	unsigned long long start, end, flags;
	char path[64], line[128];
	int ret = -ENODEV;
	FILE *f;

	*bar = (struct pci_bar){ };
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/resource", name);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (index--)
			continue;
		if (sscanf(line, "%llx %llx %llx", &start, &end, &flags) == 3 &&
		    end > start) {
			bar->start = start;
			bar->size = end - start + 1;
			ret = 0;
		}
		break;
	}
	fclose(f);
	return ret;
}

static inline int pci_config_read(const char *name, int where, void *val,
				  size_t len)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/config", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = pread(fd, val, len, where);
	close(fd);
	return n == (ssize_t)len ? 0 : -EIO;
}

static inline int pci_config_write(const char *name, int where, const void *val,
				   size_t len)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/config", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = pwrite(fd, val, len, where);
	close(fd);
	return n == (ssize_t)len ? 0 : -EIO;
}

static inline bool pci_decodes(const char *name)
{
	__u16 command = 0;

	return !pci_config_read(name, PCI_COMMAND, &command, 2) &&
	       command & PCI_COMMAND_MEMORY;
}

static inline int pci_set_decode(const char *name, bool on)
{
	__u16 command;
	int ret;

	ret = pci_config_read(name, PCI_COMMAND, &command, 2);
	if (ret)
		return ret;
	command &= ~PCI_COMMAND_MEMORY;
	if (on)
		command |= PCI_COMMAND_MEMORY;
	return pci_config_write(name, PCI_COMMAND, &command, 2);
}

/* Offset of an extended capability, 0 when there is none, or -errno. */
static inline int pci_ext_cap(const char *name, __u32 id)
{
	int where = PCI_CFG_SPACE_SIZE, left = 480;
	__u32 header;

	while (where >= PCI_CFG_SPACE_SIZE && left--) {
		int ret = pci_config_read(name, where, &header, 4);

		if (ret)
			return ret;
		if (!header || header == 0xffffffff)
			return 0;
		if (PCI_EXT_CAP_ID(header) == id)
			return where;
		where = PCI_EXT_CAP_NEXT(header);
	}
	return 0;
}

#endif /* P2PBUF_TEST_PCI_H */
