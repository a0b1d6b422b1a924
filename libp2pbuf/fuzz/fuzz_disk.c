// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The disks below a block device, on a machine whose sysfs and device mapper
 * say what they like.
 *
 * The input is text: records that '|' ends, of a letter and what the file that
 * it stands for has in it ("-": there is none). What no record is about is as
 * on a machine with two drives and a multipath head. Further letters:
 *   ?  which of the devices below is asked for, a digit
 *   5 to 7  slaves of that device, digits; itself is allowed, as a loop
 *   3  which controllers the head's subsystem has, of 0 to 3
 *   =  targets of the table of any dm device, with commas between
 *   !  the same as bytes: flags, number of targets, what the kernel wrote
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <linux/dm-ioctl.h>

#include "fuzz.h"
#include "tree.h"
#include "internal.h"

#define PCI	"/sys/devices/pci0000:00/"
#define VIRTUAL	"/sys/devices/virtual/"
#define SUBSYS	VIRTUAL "nvme-subsystem/nvme-subsys2"
#define NVME(i)	PCI "0000:00:0" #i ".0/nvme/nvme" #i

static const char * const controllers[] = { NVME(0), NVME(1), NVME(2), NVME(3) };

#define CONTROLLERS	4
#define HEAD	3
#define LAYERS	5	/* devices from this one on are made of others */

static const struct {
	const char *dir;
	const char *device;	/* where its link of that name leads */
} devices[] = {
	{ NVME(0) "/nvme0n1", NVME(0) },
	{ NVME(1) "/nvme1n1", NVME(1) },
	{ NVME(0) "/nvme0n1/nvme0n1p1", NULL },
	{ SUBSYS "/nvme2n1", SUBSYS },
	{ PCI "0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda",
	  PCI "0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0" },
	{ VIRTUAL "block/md0", NULL },
	{ VIRTUAL "block/dm-0", NULL },
	{ VIRTUAL "block/dm-1", NULL },
};

#define MD	5
#define DEVICES	(sizeof(devices) / sizeof(devices[0]))

static const struct {
	char letter;
	const char *dir, *folder, *name, *usual;
} files[] = {
	{ 'a', NVME(0), "", "transport", "pcie\n" },
	{ 'b', NVME(0), "", "address", "0000:00:00.0\n" },
	{ 'c', NVME(1), "", "transport", "pcie\n" },
	{ 'd', NVME(1), "", "address", "0000:00:01.0\n" },
	{ 'e', NVME(2), "", "transport", "pcie\n" },
	{ 'f', NVME(2), "", "address", "0000:00:02.0\n" },
	{ 'g', NVME(3), "", "transport", "pcie\n" },
	{ 'h', NVME(3), "", "address", "0000:00:03.0\n" },
	{ 'i', NVME(0) "/nvme0n1", "/queue", "max_sectors_kb", "512\n" },
	{ 'j', NVME(1) "/nvme1n1", "/queue", "max_sectors_kb", "512\n" },
	{ 'k', NVME(0) "/nvme0n1", "/queue", "stable_writes", "0\n" },
	{ 'l', NVME(0) "/nvme0n1", "/queue", "nomerges", "0\n" },
	{ 'm', NVME(0) "/nvme0n1/nvme0n1p1", "", "partition", "1\n" },
	{ 'n', VIRTUAL "block/md0", "/md", "level", "raid0\n" },
	{ 'o', VIRTUAL "block/md0", "/queue", "stable_writes", "0\n" },
	{ 'p', VIRTUAL "block/dm-0", "/dm", "name", "vg-plain\n" },
	{ 'q', VIRTUAL "block/dm-0", "/dm", "uuid", "CRYPT-LUKS2-1-a\n" },
	{ 'r', VIRTUAL "block/dm-1", "/dm", "name", "vg-other\n" },
	{ 's', VIRTUAL "block/dm-1", "/dm", "uuid", "DM-2\n" },
	{ 't', NVME(0) "/nvme0n1", "/integrity", "format", "none\n" },
	{ 'u', VIRTUAL "block/md0", "/integrity", "format", "none\n" },
};

#define NOMERGES	11	/* of files[]: the library writes it */
#define FILES	(sizeof(files) / sizeof(files[0]))

/* One record; @text has a '\0' behind. */
struct record {
	const char *text;
	size_t n;
};

static struct record targets, table, level;
static struct record drive_format, array_format;
static const char *address[CONTROLLERS];
static bool has_uuid;
static bool changed[FILES], linked[DEVICES];

static void file_reset(unsigned int i)
{
	char dir[128];

	snprintf(dir, sizeof(dir), "%s%s", files[i].dir, files[i].folder);
	tree_write(dir, files[i].name, files[i].usual, strlen(files[i].usual));
	changed[i] = false;
}

static void file_change(unsigned int i, const struct record *r)
{
	char dir[128];

	snprintf(dir, sizeof(dir), "%s%s", files[i].dir, files[i].folder);
	if (r->n == 1 && *r->text == '-')
		tree_remove(dir, files[i].name);
	else
		tree_write(dir, files[i].name, r->text, r->n);
	changed[i] = true;
}

/* Which others a device is made of, or a subsystem has for controllers. */
static void links_change(unsigned int i, const struct record *r)
{
	const unsigned int n = i == HEAD ? 4 : i + 1;
	char dir[128], link[192];
	const char *target;
	unsigned int k;
	size_t at;

	snprintf(dir, sizeof(dir), "%s%s", i == HEAD ? SUBSYS : devices[i].dir,
		 i == HEAD ? "" : "/slaves");
	for (k = 0; k < n; k++) {
		target = i == HEAD ? controllers[k] : devices[k].dir;
		tree_remove(dir, strrchr(target, '/') + 1);
		for (at = 0; at < r->n && r->text[at] != '0' + (int)k; at++)
			;
		if (at == r->n)
			continue;
		snprintf(link, sizeof(link), "%s%s", dir, strrchr(target, '/'));
		tree_link(link, target);
	}
	linked[i] = true;
}

static void links_reset(unsigned int i)
{
	static const char * const usual[DEVICES] = {
		[HEAD] = "23", [5] = "01", [6] = "5", [7] = "6",
	};
	struct record r = { usual[i], strlen(usual[i]) };

	links_change(i, &r);
	linked[i] = false;
}

static void prepare(void)
{
	char path[192];
	unsigned int i;

	if (!tree_make())
		return;
	tree_folder("/sys/dev/block");
	tree_folder("/sys/block");
	tree_folder("/dev/mapper");
	tree_write("/dev/mapper", "control", "", 0);
	for (i = 0; i < DEVICES; i++) {
		snprintf(path, sizeof(path), "%s/%s", devices[i].dir,
			 i < LAYERS ? "queue" : "slaves");
		tree_folder(path);
		snprintf(path, sizeof(path), "/sys/dev/block/259:%u", i);
		tree_link(path, devices[i].dir);
		snprintf(path, sizeof(path), "/sys/block%s",
			 strrchr(devices[i].dir, '/'));
		tree_link(path, devices[i].dir);
		if (!devices[i].device)
			continue;
		tree_folder(devices[i].device);
		snprintf(path, sizeof(path), "%s/device", devices[i].dir);
		tree_link(path, devices[i].device);
	}
	for (i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "%s%s", files[i].dir,
			 files[i].folder);
		tree_folder(path);
		file_reset(i);
	}
	links_reset(HEAD);
	for (i = LAYERS; i < DEVICES; i++)
		links_reset(i);
}

static unsigned int record_take(const struct record *r, char letter,
				unsigned int asked)
{
	unsigned int i;

	if (letter == '?' && *r->text >= '0' && *r->text < '0' + (int)DEVICES)
		return *r->text - '0';
	if (letter == '=')
		targets = *r;
	else if (letter == '!')
		table = *r;
	switch (letter) {
	case 'b': case 'd': case 'f': case 'h':
		address[(letter - 'b') / 2] = r->text;
		break;
	case 'n':
		level = *r;
		break;
	case 'q': case 's':
		has_uuid = true;
		break;
	case 't':
		drive_format = *r;
		break;
	case 'u':
		array_format = *r;
	}
	if (letter == '0' + HEAD)
		links_change(HEAD, r);
	if (letter >= '0' + LAYERS && letter < '0' + (int)DEVICES)
		links_change(letter - '0', r);
	for (i = 0; i < FILES; i++)
		if (files[i].letter == letter)
			file_change(i, r);
	return asked;
}

/* Lays the machine out; gives which device is asked for. */
static unsigned int records_take(char *text, size_t size)
{
	unsigned int asked = 0;
	char *end;

	for (; size > 1; size -= end - text, text = end) {
		struct record r = { .text = text + 1 };

		end = memchr(text, '|', size);
		if (!end)
			end = text + size;
		r.n = end > text ? end - text - 1 : 0;
		if (end > text)
			asked = record_take(&r, *text, asked);
		if (end < text + size)
			*end++ = '\0';
	}

	return asked;
}

static void targets_write(char *bytes, size_t size, struct dm_ioctl *head)
{
	const char *at = targets.text, *end = at + targets.n;
	size_t pos = 0;

	while (at < end && pos + sizeof(struct dm_target_spec) <= size) {
		struct dm_target_spec *spec = (void *)(bytes + pos);
		size_t n = strcspn(at, ",");

		snprintf(spec->target_type, sizeof(spec->target_type), "%.*s",
			 (int)n, at);
		pos += sizeof(*spec) + 8;
		spec->next = pos;
		head->target_count++;
		at += n + 1;
	}
	if (at < end)
		head->flags |= DM_BUFFER_FULL_FLAG;
}

/* Called in the place of ioctl(), see the Makefile. */
int fuzz_ioctl(int fd, unsigned long request, ...);
int fuzz_ioctl(int fd, unsigned long request, ...)
{
	struct dm_ioctl *head;
	struct input in;
	va_list ap;
	char *bytes;
	size_t size;

	PROMISE(fd >= 0 && request == DM_TABLE_STATUS);
	va_start(ap, request);
	head = va_arg(ap, void *);
	va_end(ap);
	PROMISE(memchr(head->name, '\0', sizeof(head->name)));
	bytes = (char *)head + head->data_start;
	size = head->data_size - head->data_start;
	if (targets.text) {
		targets_write(bytes, size, head);
	} else if (table.text) {
		in = (struct input){ (const uint8_t *)table.text, table.n };
		head->flags = input_byte(&in) & 1 ? DM_BUFFER_FULL_FLAG : 0;
		head->target_count = input_byte(&in);
		input_bytes(&in, bytes, size);
	} else {
		errno = EACCES;
		return -1;
	}

	return 0;
}

/* Each is what sysfs says of some controller. */
static bool is_known_address(const char *pci)
{
	unsigned int i;

	for (i = 0; i < CONTROLLERS; i++)
		if (strcspn(address[i], "\n") == strlen(pci) &&
		    !strncmp(address[i], pci, strlen(pci)))
			return true;
	return false;
}

static void disks_check(const struct p2pbuf_disks *disks)
{
	char text[P2PBUF_BDF_LEN];
	unsigned int i, k;

	/* "Yes" without a drive would be a yes without a look. */
	PROMISE(disks->n && disks->n <= P2PBUF_DISKS);
	PROMISE(disks->queues && disks->queues <= P2PBUF_DISKS);
	for (i = 0; i < disks->n; i++) {
		p2pbuf_pci_text(disks->pci[i], text);
		PROMISE(is_known_address(text));
		for (k = 0; k < i; k++)
			PROMISE(disks->pci[k] != disks->pci[i]);
	}
	for (i = 0; i < disks->queues; i++)
		PROMISE(!strncmp(disks->queue[i], "nvme", 4) &&
			memchr(disks->queue[i], '\0', P2PBUF_DISK_NAME));
}

/* An array was accepted: of a level that leaves the data alone? */
static void level_check(void)
{
	static const char * const known[] = {
		"raid0", "linear", "raid1", "raid10",
	};
	unsigned int i;
	size_t n;

	if (!level.text)
		return;
	n = strcspn(level.text, "\n");
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (n == strlen(known[i]) && !strncmp(level.text, known[i], n))
			return;
	PROMISE(!"an array of another level");
}

/* A disk was accepted: does its format say that the CPU makes no checksums? */
static void format_check(const struct record *format)
{
	size_t n;

	/* Without the file, or anything in it, nothing is said. */
	if (!format->n || (format->n == 1 && *format->text == '-'))
		return;
	n = strcspn(format->text, "\n");
	PROMISE((n == 4 && !memcmp(format->text, "none", n)) ||
		(n == 3 && !memcmp(format->text, "nop", n)));
}

/* A dm device was, by its table. */
static void targets_check(void)
{
	const char *at = targets.text;
	size_t n;

	PROMISE(at || table.text);
	for (; at && at < targets.text + targets.n; at += n + 1) {
		n = strcspn(at, ",");
		PROMISE((n == 6 && !memcmp(at, "linear", n)) ||
			(n == 7 && !memcmp(at, "striped", n)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct p2pbuf_error error = { .size = sizeof(error) };
	struct p2pbuf_disks disks = { 0 };
	unsigned int asked, before, i;
	char *text;
	int ret;

	prepare();
	targets.text = NULL;
	table.text = NULL;
	level.text = NULL;
	drive_format.n = 0;
	array_format.n = 0;
	has_uuid = false;
	for (i = 0; i < CONTROLLERS; i++)
		address[i] = files[2 * i + 1].usual;
	text = calloc(1, size + 1);
	PROMISE(text);
	memcpy(text, data, size);
	asked = records_take(text, size);

	before = tree_open_files();
	ret = p2pbuf_disks_find(&disks, makedev(259, asked), &error);
	PROMISE(ret <= 0);
	if (ret) {
		PROMISE(error.code == -ret && error.text[0]);
		PROMISE(memchr(error.text, '\0', sizeof(error.text)));
	} else {
		disks_check(&disks);
		/* The drive, its part, and the array of it and another. */
		if (asked == 0 || asked == 2 || (asked == MD && !linked[MD]))
			format_check(&drive_format);
		if (asked == MD)
			format_check(&array_format);
		if (asked == MD)
			level_check();
		else if (asked > MD && !has_uuid)
			targets_check();
		if (!p2pbuf_disks_stop_merges(&disks, &error))
			PROMISE(disks.is_multipath ||
				!p2pbuf_disks_merge(&disks));
		changed[NOMERGES] = true;
	}
	p2pbuf_disk_is_nvme(makedev(259, asked));
	PROMISE(tree_open_files() == before);

	free(text);
	for (i = 0; i < FILES; i++)
		if (changed[i])
			file_reset(i);
	for (i = 0; i < DEVICES; i++)
		if (linked[i])
			links_reset(i);
	return 0;
}
