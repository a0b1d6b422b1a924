// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * PCI functions as sysfs shows them.
 *
 * Config space is what has to be read with care: without CAP_SYS_ADMIN the
 * kernel gives 64 bytes and no error, so a capability that was not found may
 * be there. The size of the file tells how much there is; -EACCES says that
 * we were given less.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "why_pci.h"

#define CONFIG_STD_SIZE		256
#define CONFIG_EXT_SIZE		4096

const char *pci_root = "";

/* "0000:03:00.0" and "03:00.0" alike, into the first form. */
int pci_name(const char *text, char *bdf)
{
	unsigned int domain = 0, bus, dev, fn;
	int n, end = 0;

	/* sscanf() would also take signs, blanks and 0x. */
	if (text[strspn(text, "0123456789abcdefABCDEF:.")])
		return -EINVAL;
	n = sscanf(text, "%6x:%2x:%2x.%1x%n", &domain, &bus, &dev, &fn, &end);
	if (n != 4) {
		domain = 0;
		n = sscanf(text, "%2x:%2x.%1x%n", &bus, &dev, &fn, &end);
		if (n != 3)
			return -EINVAL;
	}
	if (text[end] || dev > 0x1f || fn > 7)
		return -EINVAL;
	snprintf(bdf, PCI_NAME_LEN, "%04x:%02x:%02x.%x", domain, bus, dev, fn);
	return 0;
}

static void device_path(char *path, size_t size, const char *bdf,
			const char *attribute)
{
	snprintf(path, size, "%s/sys/bus/pci/devices/%s%s%s", pci_root, bdf,
		 *attribute ? "/" : "", attribute);
}

/*
 * Only what follows the last host bridge counts: a VMD endpoint is an ancestor
 * in sysfs of the root bus that it makes, but requests do not pass it as they
 * pass a bridge.
 */
static int split_chain(char *path, struct pci_chain *chain)
{
	char *part, *save, *rest = NULL;
	char bdf[PCI_DEPTH][PCI_NAME_LEN];
	int i, n = 0;

	for (part = path; (part = strstr(part, "/pci")); part++)
		if (strchr(part, ':') && strchr(part + 1, '/'))
			rest = strchr(part + 1, '/');
	if (!rest)
		return -ENODEV;
	*rest++ = '\0';
	if (strlen(path) >= sizeof(chain->host))
		return -ENAMETOOLONG;
	strcpy(chain->host, path);

	for (part = strtok_r(rest, "/", &save); part;
	     part = strtok_r(NULL, "/", &save)) {
		if (n == PCI_DEPTH || pci_name(part, bdf[n]))
			return -ENODEV;
		n++;
	}
	for (i = 0; i < n; i++)
		strcpy(chain->bdf[i], bdf[n - 1 - i]);
	chain->n = n;
	return n ? 0 : -ENODEV;
}

int pci_chain(const char *bdf, struct pci_chain *chain)
{
	char path[PCI_PATH_LEN], *full;
	int ret;

	device_path(path, sizeof(path), bdf, "");
	full = realpath(path, NULL);
	if (!full)
		return -errno;
	ret = split_chain(full, chain);
	free(full);
	return ret;
}

static int is_function(const struct dirent *entry)
{
	char bdf[PCI_NAME_LEN];

	return !pci_name(entry->d_name, bdf);
}

/* The function that the kernel's list of host bridges is about. */
int pci_first_on_root_bus(const char *host, char *bdf)
{
	struct dirent **list;
	int i, n, ret = -ENODEV;

	n = scandir(host, &list, is_function, alphasort);
	if (n < 0)
		return -errno;
	for (i = 0; i < n; i++) {
		if (!i)
			ret = pci_name(list[i]->d_name, bdf);
		free(list[i]);
	}
	free(list);
	return ret;
}

bool pci_text(const char *bdf, const char *attribute, char *text, size_t size)
{
	char path[PCI_PATH_LEN];
	FILE *f;
	bool ok;

	device_path(path, sizeof(path), bdf, attribute);
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fgets(text, size, f);
	fclose(f);
	if (ok)
		text[strcspn(text, "\n")] = '\0';
	return ok;
}

/* 0 when it cannot be read. */
unsigned long pci_number(const char *bdf, const char *attribute)
{
	char text[32];

	return pci_text(bdf, attribute, text, sizeof(text)) ?
	       strtoul(text, NULL, 0) : 0;
}

/* Where a symbolic link points to, without the way there. */
bool pci_link_name(const char *bdf, const char *link, char *name, size_t size)
{
	char path[PCI_PATH_LEN], target[PATH_MAX], *last;
	ssize_t n;

	device_path(path, sizeof(path), bdf, link);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	last = strrchr(target, '/');
	snprintf(name, size, "%s", last ? last + 1 : target);
	return true;
}

/*
 * -ENOENT: the function has no such register; -EACCES: it has, or may have,
 * but we are not let.
 */
static int read_config(const char *bdf, int where, void *value, size_t len)
{
	char path[PCI_PATH_LEN];
	struct stat st;
	ssize_t n = -1;
	int fd;

	device_path(path, sizeof(path), bdf, "config");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -EACCES;
	if (!fstat(fd, &st)) {
		if (where + (off_t)len > st.st_size) {
			close(fd);
			return -ENOENT;
		}
		n = pread(fd, value, len, where);
	}
	close(fd);
	return n == (ssize_t)len ? 0 : -EACCES;
}

int pci_read16(const char *bdf, int where, uint16_t *value)
{
	uint8_t raw[2];
	int ret = read_config(bdf, where, raw, sizeof(raw));

	*value = ret ? 0 : raw[0] | raw[1] << 8;
	return ret;
}

/* Offset of an extended capability; 0 for none; -EACCES for nobody knows. */
int pci_ext_capability(const char *bdf, unsigned int id)
{
	int where = CONFIG_STD_SIZE;
	int left = (CONFIG_EXT_SIZE - CONFIG_STD_SIZE) / 8;

	while (where >= CONFIG_STD_SIZE && left--) {
		uint16_t head, next;
		int ret = pci_read16(bdf, where, &head);

		if (!ret)
			ret = pci_read16(bdf, where + 2, &next);
		if (ret)
			return ret == -ENOENT ? 0 : ret;
		/* Nothing there reads as zeros, a function in trouble as ones. */
		if ((!head && !next) || (head == 0xffff && next == 0xffff))
			return 0;
		if (head == id)
			return where;
		where = next >> 4 & 0xffc;
	}
	return 0;
}

/* PCI_EXP_TYPE_*; -ENOENT for a conventional function; -EACCES. */
int pci_express_type(const char *bdf)
{
	uint16_t value;
	int where, ret, left = (CONFIG_STD_SIZE - 64) / 4;

	ret = pci_read16(bdf, PCI_STATUS, &value);
	if (ret)
		return ret;
	if (!(value & PCI_STATUS_CAP_LIST))
		return -ENOENT;
	ret = pci_read16(bdf, PCI_CAPABILITY_LIST, &value);
	for (where = value & 0xfc; !ret && where >= 64 && left--;
	     where = value >> 8 & 0xfc) {
		ret = pci_read16(bdf, where, &value);
		if (ret || (value & 0xff) != PCI_CAP_ID_EXP)
			continue;
		ret = pci_read16(bdf, where + PCI_EXP_FLAGS, &value);
		return ret ? ret : (value & PCI_EXP_FLAGS_TYPE) >> 4;
	}
	return ret ? ret : -ENOENT;
}
