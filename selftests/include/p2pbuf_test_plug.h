/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI functions that are pulled out and plugged in again: through sysfs, by the
 * power of their slot, by a hand outside, which is QEMU's monitor, or with no
 * word to anybody.
 *
 * All but the last two are orderly: the function answers until its driver has
 * let go of it. A function that vanishes has no power any more, in the middle of
 * what it does, when its driver is told. One that was torn out is marked as
 * disconnected as well, as a hot plug port does that sees no card any more; QEMU
 * (7.2) stands still when a function leaves its slot with commands under way, so
 * the probe does it instead of a port.
 *
 * The machine tells what can be pulled: P2PBUF_PLUG_<ID> has the device as the
 * monitor wants it. The monitor is on a serial port and speaks QMP, one JSON
 * object a line; commands are given in its human form, inside of it.
 */
#ifndef P2PBUF_TEST_PLUG_H
#define P2PBUF_TEST_PLUG_H

#include <ctype.h>
#include <poll.h>
#include <termios.h>
#include <sys/ioctl.h>

#include "p2pbuf_probe.h"
#include "p2pbuf_test_pci.h"
#include "p2pbuf_test_run.h"
#include "p2pbuf_test_write.h"

#define PTG_MONITOR	"/dev/ttyS3"
#define PTG_PATIENCE_MS	20000

enum ptg_way {
	PTG_SYSFS,	/* remove and rescan */
	PTG_SLOT,	/* power off; the monitor plugs in again */
	PTG_MONITOR_DEL,	/* device_del and device_add */
	PTG_VANISH,	/* without power, and then removed; rescan */
	PTG_TORN,	/* the same, and the kernel knows before it is removed */
};

/**
 * struct ptg_plug - a function that can be pulled
 * @way: how
 * @monitor: the port, or -1
 * @id: QEMU's name
 * @device: for device_add
 * @memory: bytes of its memory, if it has any
 * @pci: name in sysfs
 * @slot: its slot's file "power", or empty
 * @port: the port above
 * @control: where its slot's control is in its configuration
 */
struct ptg_plug {
	enum ptg_way way;
	int monitor;
	char id[32];
	char device[256];
	__u64 memory;
	char pci[PCI_NAME_MAX];
	char slot[64];
	char port[PCI_NAME_MAX];
	int control;
};

/* One line within PTG_PATIENCE_MS; its length, or -errno. */
static inline int ptg_line(int fd, char *line, int size)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	int n = 0;
	char c;

	while (poll(&wait, 1, PTG_PATIENCE_MS) > 0) {
		if (read(fd, &c, 1) != 1)
			return -errno;
		if (c == '\n') {
			line[n] = 0;
			return n;
		}
		if (n < size - 1)
			line[n++] = c;
	}
	return -ETIMEDOUT;
}

/*
 * Execute @command, with @arguments or NULL, and wait for the answer that has
 * our mark: events come in between, and answers to what the terminal echoed
 * before it was told not to. Byte 255 makes the monitor forget half a line.
 */
static inline int ptg_ask(int fd, const char *command, const char *arguments,
			  char *line, int size)
{
	static unsigned int count;
	char text[512], mark[32];
	int n, ret;

	snprintf(mark, sizeof(mark), "\"id\": \"%d-%u\"", getpid(), count++);
	n = snprintf(text, sizeof(text),
		     "\xff{\"execute\": \"%s\", %s%s%s%s}\n", command,
		     arguments ? "\"arguments\": " : "",
		     arguments ? arguments : "", arguments ? ", " : "", mark);
	if (write(fd, text, n) != n)
		return -errno;
	do {
		ret = ptg_line(fd, line, size);
	} while (ret >= 0 && !strstr(line, mark));
	return ret < 0 ? ret : 0;
}

/* A command of the human monitor: 0, or -EIO when it had something to say. */
static inline int ptg_command(int fd, const char *command, const char *arg)
{
	char arguments[384], line[2048];
	int ret;

	snprintf(arguments, sizeof(arguments), "{\"command-line\": \"%s %s\"}",
		 command, arg);
	ret = ptg_ask(fd, "human-monitor-command", arguments, line,
		      sizeof(line));
	if (ret)
		return ret;
	if (strstr(line, "\"return\": \"\""))
		return 0;
	printf("# %s %s: %s\n", command, arg, line);
	return -EIO;
}

static inline int ptg_monitor_open(void)
{
	int fd = open(PTG_MONITOR, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios raw;
	char line[2048];
	int ret;

	if (fd < 0)
		return -errno;
	ret = tcgetattr(fd, &raw) ? -errno : 0;
	if (!ret) {
		cfmakeraw(&raw);
		ret = tcsetattr(fd, TCSAFLUSH, &raw) ? -errno : 0;
	}
	/* An error when it has been said before. */
	if (!ret)
		ret = ptg_ask(fd, "qmp_capabilities", NULL, line, sizeof(line));
	if (ret)
		close(fd);
	return ret ? ret : fd;
}

/* The slot whose address @pci has without its function. */
static inline void ptg_find_slot(struct ptg_plug *plug)
{
	char path[300], address[32] = "";
	struct dirent *e;
	DIR *dir = opendir("/sys/bus/pci/slots");
	FILE *f;

	while (dir && !*plug->slot && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/bus/pci/slots/%s/address",
			 e->d_name);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fscanf(f, "%31s", address) == 1 && strlen(address) > 8 &&
		    !strncmp(address, plug->pci, strlen(address)))
			snprintf(plug->slot, sizeof(plug->slot),
				 "/sys/bus/pci/slots/%.30s/power", e->d_name);
		fclose(f);
	}
	if (dir)
		closedir(dir);
}

/* Where the control of @port's slot is, or -ENODEV: it has no power of its own. */
static inline int ptg_slot_control(const char *port)
{
	__u8 where = 0, header[2];
	__u32 slot;
	int left = 48;

	if (pci_config_read(port, PCI_CAPABILITY_LIST, &where, 1))
		return -ENODEV;
	while (where >= PCI_STD_HEADER_SIZEOF && left--) {
		if (pci_config_read(port, where, header, sizeof(header)))
			return -ENODEV;
		if (header[0] == PCI_CAP_ID_EXP)
			break;
		where = header[1];
	}
	if (where < PCI_STD_HEADER_SIZEOF ||
	    pci_config_read(port, where + PCI_EXP_SLTCAP, &slot, 4) ||
	    !(slot & PCI_EXP_SLTCAP_PCP))
		return -ENODEV;
	return where + PCI_EXP_SLTCTL;
}

/* NULL, or why nobody can cut its power. */
static inline const char *ptg_open_port(struct ptg_plug *plug)
{
	if (pci_upstream(plug->pci, plug->port))
		return "no port above";
	plug->control = ptg_slot_control(plug->port);
	return plug->control < 0 ? "the slot has no switch" : NULL;
}

/* NULL, or why this machine cannot do it. */
static inline const char *ptg_open(struct ptg_plug *plug, const char *id,
				   const char *pci, enum ptg_way way)
{
	const char *device;
	struct pci_bar bar;
	char name[64];
	int i;

	*plug = (struct ptg_plug){ .way = way, .monitor = -1 };
	snprintf(plug->id, sizeof(plug->id), "%s", id);
	snprintf(plug->pci, sizeof(plug->pci), "%s", pci);
	if (way == PTG_SYSFS)
		return NULL;
	if (way == PTG_TORN && ptk_run("modprobe p2pbuf_probe"))
		return "no probe";
	if (way == PTG_VANISH || way == PTG_TORN)
		return ptg_open_port(plug);
	snprintf(name, sizeof(name), "P2PBUF_PLUG_%s", id);
	for (i = 0; name[i]; i++)
		name[i] = toupper(name[i]);
	device = getenv(name);
	if (!device)
		return "nothing on this machine can be pulled";
	snprintf(plug->device, sizeof(plug->device), "%s", device);
	if (strstr(device, "memdev=") && !pci_bar_read(pci, 2, &bar))
		plug->memory = bar.size;
	ptg_find_slot(plug);
	if (way == PTG_SLOT && !*plug->slot)
		return "the slot has no switch";
	plug->monitor = ptg_monitor_open();
	return plug->monitor < 0 ? "nobody listens on " PTG_MONITOR : NULL;
}

static inline void ptg_close(struct ptg_plug *plug)
{
	if (plug->monitor >= 0)
		close(plug->monitor);
	plug->monitor = -1;
}

static inline bool ptg_is_there(const char *pci)
{
	char path[64];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s", pci);
	return !access(path, F_OK);
}

static inline int ptg_wait(const char *pci, bool there)
{
	int ms;

	for (ms = 0; ms < PTG_PATIENCE_MS; ms += 20) {
		if (ptg_is_there(pci) == there)
			return 0;
		usleep(20000);
	}
	return -ETIMEDOUT;
}

/*
 * The power of the slot, behind the back of the slot's driver, which would take
 * leave of the function first. Without power it has no configuration, no BARs
 * and no DMA; with it, it is as new.
 */
static inline int ptg_power(struct ptg_plug *plug, bool on)
{
	__u32 id = 0;
	__u16 control;
	int ret;

	ret = pci_config_read(plug->port, plug->control, &control, 2);
	if (ret)
		return ret;
	control &= ~PCI_EXP_SLTCTL_PCC;
	control |= on ? PCI_EXP_SLTCTL_PWR_ON : PCI_EXP_SLTCTL_PWR_OFF;
	ret = pci_config_write(plug->port, plug->control, &control, 2);
	if (ret || on)
		return ret;
	ret = pci_config_read(plug->pci, PCI_VENDOR_ID, &id, sizeof(id));
	return ret ? ret : id == ~0u ? 0 : -EBUSY;
}

/* Is it without power before anybody is told? */
static inline bool ptg_is_cut(const struct ptg_plug *plug)
{
	return plug->way == PTG_VANISH || plug->way == PTG_TORN;
}

/* Mark it as disconnected. */
static inline int ptg_mark(const struct ptg_plug *plug)
{
	__u32 function = pci_id(plug->pci);
	int fd = open(P2PBUF_PROBE_DEVICE, O_RDWR | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, P2PBUF_PROBE_DISCONNECT, &function))
		ret = -errno;
	close(fd);
	return ret;
}

/* Out with it: returns when the kernel has let go of it. */
static inline int ptg_pull(struct ptg_plug *plug)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/remove", plug->pci);
	if (ptg_is_cut(plug)) {
		ret = ptg_power(plug, false);
		if (!ret && plug->way == PTG_TORN)
			ret = ptg_mark(plug);
		if (ret)
			return ret;
	}
	if (plug->way == PTG_SYSFS || ptg_is_cut(plug))
		ret = ptk_write(path, "1");
	else if (plug->way == PTG_SLOT)
		ret = ptk_write(plug->slot, "0");
	else
		ret = ptg_command(plug->monitor, "device_del", plug->id);
	return ret ? ret : ptg_wait(plug->pci, false);
}

/*
 * Memory for the device to come. That of the old one cannot be had: QEMU (7.2)
 * does not let go of it when the function was switched off before, and dies.
 */
static inline int ptg_new_memory(struct ptg_plug *plug)
{
	char object[96], device[256], *name = strstr(plug->device, "memdev=");
	size_t rest;

	if (!name)
		return 0;
	name += strlen("memdev=");
	rest = strcspn(name, ",");
	snprintf(object, sizeof(object),
		 "memory-backend-ram,id=again%d-%d,size=%llu,share=on",
		 getpid(), plug->way, plug->memory);
	snprintf(device, sizeof(device), "%.*sagain%d-%d%s",
		 (int)(name - plug->device), plug->device, getpid(),
		 plug->way, name + rest);
	strcpy(plug->device, device);
	return ptg_command(plug->monitor, "object_add", object);
}

/* In again; QEMU may still be busy with forgetting the old one. */
static inline int ptg_push(struct ptg_plug *plug)
{
	int ms, ret = -EIO;

	if (ptg_is_there(plug->pci))
		return 0;
	if (ptg_is_cut(plug)) {
		ret = ptg_power(plug, true);
		if (ret)
			return ret;
	}
	if (plug->way == PTG_SYSFS || ptg_is_cut(plug))
		ret = ptk_write("/sys/bus/pci/rescan", "1");
	else if (ptg_new_memory(plug))
		return -EIO;
	for (ms = 0; ret == -EIO && ms < PTG_PATIENCE_MS; ms += 1000) {
		ret = ptg_command(plug->monitor, "device_add", plug->device);
		if (ret)
			sleep(1);
	}
	return ret ? ret : ptg_wait(plug->pci, true);
}

#endif /* P2PBUF_TEST_PLUG_H */
