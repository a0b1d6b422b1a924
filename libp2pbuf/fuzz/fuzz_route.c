// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The way from a disk to the exporter, and what is told of it, on a machine
 * whose sysfs says what it likes: where the functions hang, config space,
 * classes, the kind of IOMMU domain, /proc/cpuinfo. And the line of
 * /proc/self/fdinfo that says who made a buffer.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <linux/pci_regs.h>

#include <drm/p2pbuf_drm.h>

#include "fuzz.h"
#include "tree.h"
#include "internal.h"

#define UP	"/sys/devices/pci0000:00/0000:00:01.0"
#define A	UP "/0000:01:00.0/0000:02:00.0"
#define B	UP "/0000:01:00.0/0000:02:01.0"
#define PCI_A	0x0200u
#define PCI_B	0x0208u
#define ACS_UP	(PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC)

static const char * const functions[] = { UP, UP "/0000:01:00.0", A, B };
static const uint32_t addresses[] = { 0x0008, 0x0100, PCI_A, PCI_B };
static int answer;

static void prepare(void)
{
	char link[64];
	unsigned int i;

	if (!tree_make())
		return;
	tree_folder("/sys/bus/pci/devices");
	tree_folder("/proc/self/fdinfo");
	for (i = 0; i < 4; i++) {
		tree_folder(functions[i]);
		snprintf(link, sizeof(link), "/sys/bus/pci/devices%s",
			 strrchr(functions[i], '/'));
		tree_link(link, functions[i]);
	}
	tree_folder(A "/iommu_group");
}

/* Called in the place of ioctl(), see the Makefile. */
int fuzz_ioctl(int fd, unsigned long request, ...);
int fuzz_ioctl(int fd __attribute__((unused)), unsigned long request, ...)
{
	struct drm_p2pbuf_peer_info *peer;
	va_list ap;

	PROMISE(request == DRM_IOCTL_P2PBUF_PEER_INFO);
	va_start(ap, request);
	peer = va_arg(ap, void *);
	va_end(ap);
	if (answer < 0) {
		errno = -answer;
		/* not for ever: it is asked again */
		if (answer == -EINTR || answer == -EAGAIN)
			answer = P2PBUF_PEER_REACHABLE;
		return -1;
	}
	peer->flags = answer;
	return 0;
}

static void text_write(struct input *in, const char *folder, const char *name)
{
	uint8_t text[256];
	size_t n = input_byte(in);

	n = input_bytes(in, text, n);
	tree_write(folder, name, text, n);
}

static void functions_write(struct input *in)
{
	/* short, where a reader without rights is cut off */
	static const size_t sizes[] = { 64, 256, 4096, 1024 };
	uint8_t config[4096];
	unsigned int i;

	for (i = 0; i < 4; i++) {
		uint8_t n = input_byte(in);

		memset(config, 0, sizeof(config));
		input_bytes(in, config + PCI_CFG_SPACE_SIZE, n);
		tree_write(functions[i], "config", config, sizes[n & 3]);
		text_write(in, functions[i], "class");
	}
	text_write(in, A "/iommu_group", "type");
}

static void describe(const struct p2pbuf_path_info *path)
{
	char text[512];
	int n;

	n = p2pbuf_path_describe(path, text, sizeof(text));
	PROMISE(n > 0 && n < (int)sizeof(text));
	PROMISE(strlen(text) == (size_t)n);
}

/* What is told is a way that there is, and who stands in it is on it. */
static void route_check(const struct p2pbuf_path_info *path)
{
	unsigned int i;

	PROMISE(path->path == P2PBUF_PATH_BUS ||
		path->path == P2PBUF_PATH_BRIDGE ||
		path->path == P2PBUF_PATH_REFUSED);
	PROMISE((path->path == P2PBUF_PATH_REFUSED) ==
		(path->reason != P2PBUF_REASON_NONE));
	PROMISE(answer & P2PBUF_PEER_REACHABLE ||
		path->reason == P2PBUF_REASON_NO_ROUTE);
	PROMISE(!(path->path == P2PBUF_PATH_BUS &&
		  path->flags & P2PBUF_PATH_F_IOMMU &&
		  path->flags & P2PBUF_PATH_F_HYPERVISOR));
	if (path->blocker == P2PBUF_PATH_NO_DEVICE)
		return;
	PROMISE(path->path != P2PBUF_PATH_BUS);
	PROMISE(path->blocker_acs && !(path->blocker_acs & ~ACS_UP));
	for (i = 0; i < 4 && path->blocker != addresses[i]; i++)
		;
	PROMISE(i < 4);
}

static void fuzz_machine(struct input *in)
{
	struct p2pbuf_exporter exporter = { .pci = PCI_B, .bar = 4 };
	struct p2pbuf_path_info path;
	uint8_t what = input_byte(in);
	int ret;

	answer = what & 0x80 ? -(what & 0x7f) - 1 : what;
	functions_write(in);
	tree_write("/proc", "cpuinfo", in->data, in->size);
	ret = p2pbuf_route_find(&exporter, PCI_A, &path);
	PROMISE(ret == (answer < 0 ? answer : 0));
	if (ret < 0)
		return;
	route_check(&path);
	describe(&path);
	path.path = P2PBUF_PATH_BUS;
	path.reason = P2PBUF_REASON_NONE;
	describe(&path);
}

/* What realpath() may give, of which no machine here has all. */
static void fuzz_place(struct input *in)
{
	struct p2pbuf_exporter exporter = { .pci = PCI_B, .bar = 4 };
	struct p2pbuf_path_info path;
	char real[PATH_MAX] = "/";
	size_t n = in->size < PATH_MAX - 2 ? in->size : PATH_MAX - 2;

	memcpy(real + 1, in->data, n);
	answer = P2PBUF_PEER_REACHABLE;
	tree_real = real;
	PROMISE(!p2pbuf_route_find(&exporter, PCI_A, &path));
	describe(&path);
	tree_real = NULL;
}

static void fuzz_exporter(struct input *in)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	struct p2pbuf_buffer buf = { .fd = 0, .length = 4096 };

	tree_write("/proc/self/fdinfo", "0", in->data, in->size);
	PROMISE(!p2pbuf_query(&buf, &info));
	PROMISE(memchr(info.exporter_name, '\0', sizeof(info.exporter_name)));
	PROMISE(!strchr(info.exporter_name, '\n'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	unsigned int before;

	if (!size)
		return 0;
	prepare();
	before = tree_open_files();
	switch (input_byte(&in) % 4) {
	case 0:
		fuzz_exporter(&in);
		break;
	case 1:
		fuzz_place(&in);
		break;
	default:
		fuzz_machine(&in);
	}
	PROMISE(tree_open_files() == before);
	return 0;
}
