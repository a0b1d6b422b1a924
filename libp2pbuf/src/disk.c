// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The disks below a block device, as sysfs shows them: partitions belong to a
 * disk, md and dm devices name their slaves, a multipath head its controllers.
 * At the bottom there must be NVMe functions on PCI: no other driver hands a
 * peer's address to its device.
 *
 * A layer in between has to pass pages on untouched. One that looks at the
 * data (parity, encryption, checksums, stable pages) would read or write
 * device memory with the CPU and say nothing, so it is refused here: the walk
 * knows the layers that do not, and refuses the rest.
 */

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <linux/dm-ioctl.h>

#include "internal.h"

#define DEPTH		8	/* of layers */
#define DM_CONTROL	"/dev/mapper/control"

/* The first line of a sysfs attribute; false when there is none. */
static bool read_text(const char *dir, const char *name, char *text, size_t size)
{
	char path[PATH_MAX];
	bool got;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return false;
	f = fopen(path, "re");
	if (!f)
		return false;
	got = fgets(text, size, f);
	fclose(f);
	if (got)
		text[strcspn(text, "\n")] = '\0';
	return got;
}

static unsigned long read_number(const char *dir, const char *name)
{
	char text[32];

	return read_text(dir, name, text, sizeof(text)) ?
		strtoul(text, NULL, 10) : 0;
}

static const char *base_of(const char *dir)
{
	return strrchr(dir, '/') + 1;
}

/* The real folder of the block device at @link, of the disk if it is a part. */
static bool follow(const char *link, char *dir)
{
	char text[8];

	if (!realpath(link, dir))
		return false;
	if (read_text(dir, "partition", text, sizeof(text)))
		*strrchr(dir, '/') = '\0';
	return true;
}

static int disk_add(struct p2pbuf_disks *disks, const char *bdf,
		    const char *name, struct p2pbuf_error *error)
{
	unsigned int i;
	uint32_t pci;

	if (!p2pbuf_pci_parse(bdf, &pci))
		return p2pbuf_fail(error, EPROTOTYPE,
				   "%s is an NVMe drive, but not at a PCI address that is known here (%s)",
				   name, bdf);
	for (i = 0; i < disks->n; i++)
		if (disks->pci[i] == pci)
			return 0;
	if (disks->n == P2PBUF_DISKS)
		return p2pbuf_fail(error, EMFILE,
				   "the file lies on more than %u drives",
				   P2PBUF_DISKS);
	disks->pci[disks->n++] = pci;

	return 0;
}

/* @dir: a controller, ".../nvme/nvme0" */
static int controller_add(struct p2pbuf_disks *disks, const char *dir,
			  const char *name, struct p2pbuf_error *error)
{
	char transport[16] = "?", address[64] = "?";

	read_text(dir, "transport", transport, sizeof(transport));
	if (strcmp(transport, "pcie"))
		return p2pbuf_fail(error, EPROTOTYPE,
				   "%s is not on PCI (NVMe over %s), so it cannot reach a peer's memory",
				   name, transport);
	read_text(dir, "address", address, sizeof(address));
	return disk_add(disks, address, name, error);
}

/*
 * A head's I/O takes any of its controllers: all of them count. The last one
 * may have gone: then nobody knows what comes next.
 */
static int multipath_add(struct p2pbuf_disks *disks, const char *subsystem,
			 const char *name, struct p2pbuf_error *error)
{
	char path[PATH_MAX];
	struct dirent *entry;
	unsigned int n = 0;
	int ret = 0;
	DIR *dir;

	dir = opendir(subsystem);
	if (!dir)
		return p2pbuf_fail(error, errno, "%s: %s", subsystem,
				   strerrordesc_np(errno));
	while (!ret && (entry = readdir(dir))) {
		unsigned int id;
		char rest;

		if (sscanf(entry->d_name, "nvme%u%c", &id, &rest) != 1)
			continue;
		snprintf(path, sizeof(path), "%.3000s/%s", subsystem,
			 entry->d_name);
		ret = controller_add(disks, path, name, error);
		n++;
	}
	closedir(dir);
	if (!n)
		return p2pbuf_fail(error, EPROTOTYPE,
				   "%s has no controller now that could be on PCI",
				   name);

	return ret;
}

static int queue_add(struct p2pbuf_disks *disks, const char *name,
		     struct p2pbuf_error *error)
{
	unsigned int i;

	for (i = 0; i < disks->queues; i++)
		if (!strcmp(disks->queue[i], name))
			return 0;
	if (disks->queues == P2PBUF_DISKS ||
	    strlen(name) >= sizeof(disks->queue[0]))
		return p2pbuf_fail(error, EMFILE,
				   "the file lies on more than %u namespaces",
				   P2PBUF_DISKS);
	strcpy(disks->queue[disks->queues++], name);

	return 0;
}

/* @dir: a disk that has none below it. */
static int bottom_add(struct p2pbuf_disks *disks, const char *dir,
		      struct p2pbuf_error *error)
{
	char device[PATH_MAX], parent[PATH_MAX];
	uint64_t max_io;
	int ret;

	snprintf(device, sizeof(device), "%.4000s/device", dir);
	if (strncmp(base_of(dir), "nvme", 4) || !realpath(device, parent))
		return p2pbuf_fail(error, EPROTOTYPE,
				   "%s is not an NVMe drive on PCI, and only those can reach a peer's memory",
				   base_of(dir));
	max_io = read_number(dir, "queue/max_sectors_kb") * 1024ull;
	if (max_io && (!disks->max_io || max_io < disks->max_io))
		disks->max_io = max_io;

	ret = queue_add(disks, base_of(dir), error);
	if (ret < 0)
		return ret;
	if (!strncmp(base_of(parent), "nvme-subsys", 11)) {
		disks->is_multipath = true;
		return multipath_add(disks, parent, base_of(dir), error);
	}
	return controller_add(disks, parent, base_of(dir), error);
}

static int md_judge(const char *dir, struct p2pbuf_error *error)
{
	static const char *const levels[] = {
		"raid0", "linear", "raid1", "raid10",
	};
	char level[16] = "?";
	size_t i;

	read_text(dir, "md/level", level, sizeof(level));
	for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (!strcmp(level, levels[i]))
			break;
	if (i == sizeof(levels) / sizeof(levels[0]))
		return p2pbuf_fail(error, EMEDIUMTYPE,
				   "%s is an md array of level %s, whose data goes through host memory",
				   base_of(dir), level);
	if (read_number(dir, "md/bitmap/backlog"))
		return p2pbuf_fail(error, EMEDIUMTYPE,
				   "%s writes behind (md/bitmap/backlog), from a copy in host memory",
				   base_of(dir));
	return 0;
}

/*
 * What a dm device does with the data is told by its table, to root alone:
 * 1 if it only maps, 0 if it does more, -errno.
 */
static int dm_only_maps(const char *name, char *other, size_t size)
{
	union {
		struct dm_ioctl head;
		char bytes[16384];
	} table = {
		.head = {
			.version = { DM_VERSION_MAJOR, 0, 0 },
			.data_size = sizeof(table),
			.data_start = sizeof(table.head),
			.flags = DM_STATUS_TABLE_FLAG,
		},
	};
	const size_t room = sizeof(table) - sizeof(table.head);
	struct dm_target_spec spec;
	unsigned int i, at = 0;
	int fd, ret;

	snprintf(table.head.name, sizeof(table.head.name), "%s", name);
	fd = open(DM_CONTROL, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = p2pbuf_ioctl(fd, DM_TABLE_STATUS, &table);
	close(fd);
	if (ret < 0)
		return ret;
	if (table.head.flags & DM_BUFFER_FULL_FLAG)
		return -E2BIG;

	for (i = 0; i < table.head.target_count; i++) {
		if (at > room - sizeof(spec))
			return -E2BIG;
		memcpy(&spec, table.bytes + sizeof(table.head) + at,
		       sizeof(spec));
		spec.target_type[sizeof(spec.target_type) - 1] = '\0';
		if (strcmp(spec.target_type, "linear") &&
		    strcmp(spec.target_type, "striped")) {
			snprintf(other, size, "%s", spec.target_type);
			return 0;
		}
		/* Counted from the first target's. */
		at = spec.next;
	}

	return 1;
}

/*
 * Does LVM name it as a volume of its own, on no other of LVM's? Then it is
 * linear or striped: everything else it makes stands on hidden volumes.
 */
static bool is_plain_volume(const char *dir, const char *uuid)
{
	char slaves[PATH_MAX], below[PATH_MAX];
	struct dirent *entry;
	bool plain = true;
	DIR *list;

	if (strncmp(uuid, "LVM-", 4) || strlen(uuid) != 4 + 64)
		return false;
	snprintf(slaves, sizeof(slaves), "%.4000s/slaves", dir);
	list = opendir(slaves);
	if (!list)
		return false;
	while (plain && (entry = readdir(list))) {
		char text[160] = "";

		if (entry->d_name[0] == '.')
			continue;
		snprintf(below, sizeof(below), "%.3000s/%s", slaves,
			 entry->d_name);
		plain = !read_text(below, "dm/uuid", text, sizeof(text)) ||
			strncmp(text, "LVM-", 4);
	}
	closedir(list);

	return plain;
}

static int dm_judge(const char *dir, struct p2pbuf_error *error)
{
	char name[128] = "?", uuid[160] = "", target[DM_MAX_TYPE_NAME];
	int ret;

	read_text(dir, "dm/name", name, sizeof(name));
	read_text(dir, "dm/uuid", uuid, sizeof(uuid));
	if (is_plain_volume(dir, uuid))
		return 0;

	ret = dm_only_maps(name, target, sizeof(target));
	if (ret > 0)
		return 0;
	if (!ret)
		return p2pbuf_fail(error, EMEDIUMTYPE,
				   "%s (%s) has a target of type %s; linear and striped are known to leave the data alone",
				   base_of(dir), name, target);
	if (ret == -EACCES || ret == -EPERM)
		return p2pbuf_fail(error, EPERM,
				   "this process may not see what %s (%s) does with the data: root may",
				   base_of(dir), name);
	return p2pbuf_fail(error, -ret, "cannot see what %s (%s) does with the data: %s",
			   base_of(dir), name, strerrordesc_np(-ret));
}

static int layer_judge(const char *dir, struct p2pbuf_error *error)
{
	char text[8];

	if (read_text(dir, "md/level", text, sizeof(text)))
		return md_judge(dir, error);
	if (read_text(dir, "dm/name", text, sizeof(text)))
		return dm_judge(dir, error);
	return p2pbuf_fail(error, EMEDIUMTYPE,
			   "%s is made of other disks in a way that is not known here",
			   base_of(dir));
}

/* XFS copies what goes to such a disk, so that nobody changes it on the way. */
static int stable_judge(const char *dir, struct p2pbuf_error *error)
{
	if (!read_number(dir, "queue/stable_writes"))
		return 0;
	return p2pbuf_fail(error, EMEDIUMTYPE,
			   "%s needs stable pages (checksums or parity), which are made by copying",
			   base_of(dir));
}

/*
 * Checksums in a buffer beside the blocks: the block layer makes them of what is
 * written and checks them on what was read, and for their sake XFS copies as it
 * does for stable pages, which queue/stable_writes does not say. "nop" is a
 * buffer without checksums. Where the drive itself makes and checks them, within
 * the block, it is "none".
 */
static int integrity_judge(const char *dir, struct p2pbuf_error *error)
{
	char format[32];

	if (!read_text(dir, "integrity/format", format, sizeof(format)) ||
	    !strcmp(format, "none") || !strcmp(format, "nop"))
		return 0;
	return p2pbuf_fail(error, EMEDIUMTYPE,
			   "%s is formatted with protection information (%s), which the CPU makes and checks",
			   base_of(dir), format);
}

static int walk(struct p2pbuf_disks *disks, const char *dir, unsigned int depth,
		struct p2pbuf_error *error);

static int walk_slaves(struct p2pbuf_disks *disks, const char *dir, DIR *slaves,
		       unsigned int depth, struct p2pbuf_error *error)
{
	char link[PATH_MAX], below[PATH_MAX];
	struct dirent *entry;
	unsigned int n = 0;
	int ret = 0;

	while (!ret && (entry = readdir(slaves))) {
		if (entry->d_name[0] == '.')
			continue;
		if (!n++)
			ret = layer_judge(dir, error);
		snprintf(link, sizeof(link), "%.3000s/slaves/%s", dir,
			 entry->d_name);
		if (!ret && !follow(link, below))
			ret = p2pbuf_fail(error, errno, "%s: %s", link,
					  strerrordesc_np(errno));
		if (!ret)
			ret = walk(disks, below, depth + 1, error);
	}

	return ret ? ret : (int)n;
}

/* @dir: a disk's real folder. */
static int walk(struct p2pbuf_disks *disks, const char *dir, unsigned int depth,
		struct p2pbuf_error *error)
{
	char path[PATH_MAX];
	DIR *slaves;
	int ret;

	if (depth > DEPTH)
		return p2pbuf_fail(error, ELOOP,
				   "the disk is made of more than %u layers",
				   DEPTH);
	ret = stable_judge(dir, error);
	if (!ret)
		ret = integrity_judge(dir, error);
	if (ret < 0)
		return ret;

	snprintf(path, sizeof(path), "%.4000s/slaves", dir);
	slaves = opendir(path);
	ret = slaves ? walk_slaves(disks, dir, slaves, depth, error) : 0;
	if (slaves)
		closedir(slaves);
	if (ret)
		return ret < 0 ? ret : 0;

	return bottom_add(disks, dir, error);
}

static bool disk_folder(dev_t dev, char *dir)
{
	char link[64];

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(dev),
		 minor(dev));
	return follow(link, dir);
}

bool p2pbuf_disk_is_nvme(dev_t dev)
{
	char dir[PATH_MAX], transport[16];

	if (!disk_folder(dev, dir) || strncmp(base_of(dir), "nvme", 4))
		return false;
	/* A head has no transport of its own; refusing it has its reason. */
	return !read_text(dir, "device/transport", transport,
			  sizeof(transport)) || !strcmp(transport, "pcie");
}

int p2pbuf_disks_find(struct p2pbuf_disks *disks, dev_t dev,
		      struct p2pbuf_error *error)
{
	char dir[PATH_MAX];

	if (!disk_folder(dev, dir))
		return p2pbuf_fail(error, ENOTBLK,
				   "the file does not lie on a block device of its own");
	return walk(disks, dir, 0, error);
}
