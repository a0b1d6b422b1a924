// SPDX-License-Identifier: GPL-2.0
/*
 * Bindings to md arrays, volumes of device mapper and LVM beyond those of
 * lib_file: data both ways where the layer hands pages down, and the reason
 * where it does not. Each is made of parts of two drives for its own test, or
 * of a drive that is formatted with protection information.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <liburing.h>
#include <linux/fscrypt.h>

#include "p2pbuf_test_lib.h"
#include "p2pbuf_test_file.h"
#include "p2pbuf_test_nobody.h"
#include "kselftest_harness.h"

#define SIZE		(64 * PTF_MIB)
#define MD		"/dev/md21"
#define MOUNT		"/mnt/volume"
#define SECRET		MOUNT "/secret"

#define MDADM		"echo y | /ci/toolbox mdadm --create " MD " --metadata=1.2 " \
			"--run --assume-clean "
#define BEHIND		MDADM "--level=1 --raid-devices=2 --bitmap=internal " \
			"--write-behind=256 $A --write-mostly $B"
#define LVM		"--config 'activation{udev_sync=0 udev_rules=0} devices{use_devicesfile=0} backup{archive=0 backup=0}' "

/* Whose checksums lie beside the blocks, so that Linux makes them. */
#define PROTECTED	"P2PBUF_NVME_PROTECTED"

#define CRYPT		"0 131072 crypt aes-cbc-plain64 000102030405060708090a0b0c0d0e0f 0 $A 0"

/* Parts of two drives that a volume is made of, $A and $B. */
static const struct ptf_part parts[] = {
	{ false, 31, 1, 200 },
	{ true, 31, 1, 200 },
};

static struct ptr_region region;
static bool is_paged;

FIXTURE(volume)
{
	struct p2pbuf_exporter *exporter;
	struct p2pbuf_buffer *buf;
	struct p2pbuf_binding *binding;
	struct p2pbuf_bind_info bound;
	struct p2pbuf_error error;
	struct io_uring ring;
	unsigned char *vram;
	unsigned char *host;
	int fd;
	bool made;
};

#define VOLUME_DATA FIXTURE_DATA(volume)

/*
 * @make, @unmake: commands of one shell; @make must leave a device or a file at
 *	@path
 * @prepare: what no command does; 0, or -EOPNOTSUPP where the kernel cannot
 * @disks: below it; 0: refused
 * @says, @says_too: words of the refusal
 * @names: the module that @make needs
 * @drive: the variable that names another drive that it needs
 * @secret: not for everybody
 * @journals: its data, when it is told to
 */
FIXTURE_VARIANT(volume)
{
	const char *names;
	const char *drive;
	const char *make[8];
	const char *unmake[4];
	int (*prepare)(void);
	const char *path;
	unsigned int disks;
	const char *says;
	const char *says_too;
	bool secret;
	bool journals;
};

/* A part of a drive and nothing above it: the pre-mapped way. */
FIXTURE_VARIANT_ADD(volume, none) {
	.names = "nvme",
	.make = { "true" },
	.unmake = { "true" },
	.path = "$A",
	.disks = 1,
	.secret = true,
};

FIXTURE_VARIANT_ADD(volume, raid1) {
	.names = "raid1",
	.make = { MDADM "--level=1 --raid-devices=2 --bitmap=none $A $B" },
	.unmake = { "/ci/toolbox mdadm --stop " MD },
	.path = MD,
	.disks = 2,
};

/* Far copies: striped, and each byte on both drives. */
FIXTURE_VARIANT_ADD(volume, raid10) {
	.names = "raid10",
	.make = { MDADM "--level=10 --layout=f2 --raid-devices=2 --bitmap=none $A $B" },
	.unmake = { "/ci/toolbox mdadm --stop " MD },
	.path = MD,
	.disks = 2,
};

FIXTURE_VARIANT_ADD(volume, striped) {
	.names = "dm-mod",
	.make = { "echo 0 393216 striped 2 256 $A 0 $B 0 | " PTF_DMSETUP " create striped" },
	.unmake = { PTF_DMSETUP " remove striped" },
	.path = "dm:striped",
	.disks = 2,
	.secret = true,
};

/*
 * A file on ext4 on a volume that spans both drives. With delayed allocation
 * ext4 would journal no data.
 */
FIXTURE_VARIANT_ADD(volume, lvm) {
	.names = "dm-mod",
	.make = {
		"/ci/toolbox pvcreate " LVM "$A $B",
		"/ci/toolbox vgcreate " LVM "group $A $B",
		"/ci/toolbox lvcreate " LVM "-y -W n -Z n -l 100%FREE -n models group",
		"lv=/dev/$(/ci/toolbox dmsetup info -c --noheadings -o blkdevname group-models)",
		"/ci/toolbox mkfs.ext4 -q -F $lv",
		"mkdir -p " MOUNT,
		"mount -t ext4 -o nodelalloc $lv " MOUNT,
	},
	.unmake = {
		"umount " MOUNT,
		"/ci/toolbox vgchange " LVM "-an group",
		"/ci/toolbox vgremove " LVM "-f group",
	},
	.path = MOUNT "/weights",
	.disks = 2,
	.journals = true,
};

FIXTURE_VARIANT_ADD(volume, raid5) {
	.names = "raid456",
	.make = { MDADM "--level=5 --raid-devices=2 --bitmap=none $A $B" },
	.unmake = { "/ci/toolbox mdadm --stop " MD },
	.path = MD,
	.says = "raid5",
};

/* Writes to $B are acknowledged early, and done from a copy. */
FIXTURE_VARIANT_ADD(volume, write_behind) {
	.names = "raid1",
	.make = { BEHIND },
	.unmake = { "/ci/toolbox mdadm --stop " MD },
	.path = MD,
	.says = "writes behind",
};

/* A key for the filesystem, and by it an empty folder that is encrypted. */
static int encrypt_folder(void)
{
	struct {
		struct fscrypt_add_key_arg arg;
		unsigned char raw[64];
	} key = {
		.arg.key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER,
		.arg.raw_size = sizeof(key.raw),
	};
	struct fscrypt_policy_v2 policy = {
		.version = FSCRYPT_POLICY_V2,
		.contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
		.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
		.flags = FSCRYPT_POLICY_FLAGS_PAD_32,
	};
	unsigned int i;
	int fd, ret = 0;

	for (i = 0; i < sizeof(key.raw); i++)
		key.raw[i] = i * 37 + 11;
	if (mkdir(SECRET, 0755))
		return -errno;
	fd = open(SECRET, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, FS_IOC_ADD_ENCRYPTION_KEY, &key)) {
		ret = -errno;
	} else {
		memcpy(policy.master_key_identifier,
		       key.arg.key_spec.u.identifier,
		       sizeof(policy.master_key_identifier));
		if (ioctl(fd, FS_IOC_SET_ENCRYPTION_POLICY, &policy))
			ret = -errno;
	}
	close(fd);
	return ret;
}

FIXTURE_VARIANT_ADD(volume, encrypted) {
	.names = "-a xts cts",
	.make = {
		"/ci/toolbox mkfs.ext4 -q -F -b 4096 -O encrypt $A",
		"mkdir -p " MOUNT,
		"mount -t ext4 $A " MOUNT,
	},
	.prepare = encrypt_folder,
	.unmake = { "umount " MOUNT },
	.path = SECRET "/weights",
	.says = "encrypted",
};

FIXTURE_VARIANT_ADD(volume, crypt) {
	.names = "dm-crypt",
	.make = { "echo " CRYPT " | " PTF_DMSETUP " create crypt" },
	.unmake = { PTF_DMSETUP " remove crypt" },
	.path = "dm:crypt",
	.says = "crypt",
	.secret = true,
};

FIXTURE_VARIANT_ADD(volume, btrfs) {
	.names = "btrfs",
	.make = {
		"/ci/toolbox mkfs.btrfs -q -f -m single -d single $A",
		"mkdir -p " MOUNT,
		"mount -t btrfs $A " MOUNT,
	},
	.unmake = { "umount " MOUNT },
	.path = MOUNT "/weights",
	.says = "btrfs",
};

/*
 * The CPU makes the drive's checksums; on XFS it copies as well. No attribute
 * of the queue tells.
 */
FIXTURE_VARIANT_ADD(volume, protected_file) {
	.names = "nvme",
	.drive = PROTECTED,
	.make = {
		"/ci/toolbox mkfs.ext4 -q -F -b 4096 $" PROTECTED,
		"mkdir -p " MOUNT,
		"mount -t ext4 $" PROTECTED " " MOUNT,
	},
	.unmake = { "umount " MOUNT },
	.path = MOUNT "/weights",
	.says = "nvme",
	.says_too = "protection information (T10-DIF-TYPE1-CRC)",
};

/* Each layer has them for those above: it is refused before its table is. */
FIXTURE_VARIANT_ADD(volume, protected_linear) {
	.names = "dm-mod",
	.drive = PROTECTED,
	.make = { "echo 0 131072 linear $" PROTECTED " 0 | " PTF_DMSETUP " create protected" },
	.unmake = { PTF_DMSETUP " remove protected" },
	.path = "dm:protected",
	.says = "dm-",
	.says_too = "protection information (T10-DIF-TYPE1-CRC)",
};

/* A volume of drives that differ has none, but one of the drives has. */
FIXTURE_VARIANT_ADD(volume, protected_half) {
	.names = "dm-mod",
	.drive = PROTECTED,
	.make = { "{ echo 0 65536 linear $A 0; echo 65536 131072 linear $" PROTECTED " 0; } | "
		  PTF_DMSETUP " create protected" },
	.unmake = { PTF_DMSETUP " remove protected" },
	.path = "dm:protected",
	.says = "nvme",
	.says_too = "protection information (T10-DIF-TYPE1-CRC)",
	.secret = true,
};

static void add_parts(int op)
{
	char name[4] = "$A", path[64];
	const char *disk;
	size_t i;

	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		disk = getenv(parts[i].second ? "P2PBUF_NVME_SECOND" :
						"P2PBUF_NVME_MAIN");
		ptf_partition(disk, op, &parts[i]);
		snprintf(path, sizeof(path), "%sp%d", disk, parts[i].number);
		name[1] = 'A' + i;
		setenv(name + 1, path, 1);
	}
}

/* -errno, or the opened volume. */
static int open_volume(const char *path)
{
	char node[64] = "";
	int fd;

	if (path[0] == '$')
		path = getenv(path + 1);
	if (!path)
		return -ENODEV;
	if (!strncmp(path, "dm:", 3)) {
		ptf_find_volume(node, path + 3);
		path = node;
	}
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC |
		  (strncmp(path, "/dev/", 5) ? O_CREAT : 0), 0600);
	return fd < 0 ? -errno : fd;
}

/* All of @commands in one shell; what it said, if one fails. */
static int run_all(const char *const *commands, size_t n)
{
	char all[2048] = "true";
	size_t i;

	for (i = 0; i < n && commands[i]; i++) {
		strcat(all, " && ");
		strcat(all, commands[i]);
	}
	return ptk_run("{ %s; } >/tmp/volume.log 2>&1 || { cat /tmp/volume.log; false; }",
		       all);
}

FIXTURE_SETUP(volume)
{
	int ret;

	self->fd = -1;
	self->error.size = sizeof(self->error);
	self->bound.size = sizeof(self->bound);
	if (!is_paged)
		SKIP(return, "no paged exporter");
	if (!getenv("P2PBUF_NVME_MAIN") || !getenv("P2PBUF_NVME_SECOND"))
		SKIP(return, "it takes two drives");
	if (variant->drive && !getenv(variant->drive))
		SKIP(return, "no drive %s", variant->drive);
	if (access("/ci/toolbox", X_OK))
		SKIP(return, "no tools to make it with");
	if (ptk_run("modprobe %s 2>/dev/null", variant->names))
		SKIP(return, "the kernel has no %s", variant->names);
	add_parts(BLKPG_ADD_PARTITION);
	self->made = true;
	/* What an earlier volume left there would ask for an answer. */
	ptk_run("for p in $A $B; do dd if=/dev/zero of=$p bs=1M count=2 2>/dev/null; done");
	ASSERT_EQ(0, run_all(variant->make, ARRAY_SIZE(variant->make)));
	ret = variant->prepare ? variant->prepare() : 0;
	if (ret == -EOPNOTSUPP) {
		/* Who skips here is not torn down. */
		run_all(variant->unmake, ARRAY_SIZE(variant->unmake));
		add_parts(BLKPG_DEL_PARTITION);
		SKIP(return, "the kernel cannot do it");
	}
	ASSERT_EQ(0, ret) TH_LOG("%s", strerror(-ret));
	self->fd = open_volume(variant->path);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, p2pbuf_exporter_open(region.name, &self->exporter,
					  &self->error))
		TH_LOG("%s", self->error.text);
	ASSERT_EQ(0, io_uring_queue_init(8, &self->ring, 0));
	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, NULL, &self->buf, NULL));
}

FIXTURE_TEARDOWN(volume)
{
	if (self->exporter) {
		p2pbuf_unbind(self->binding);
		if (self->vram)
			p2pbuf_unmap(self->vram, SIZE);
		p2pbuf_free(self->buf);
		p2pbuf_exporter_close(self->exporter);
		io_uring_queue_exit(&self->ring);
	}
	if (self->fd >= 0)
		close(self->fd);
	if (!self->made)
		return;
	EXPECT_EQ(0, run_all(variant->unmake, ARRAY_SIZE(variant->unmake)));
	add_parts(BLKPG_DEL_PARTITION);
}

static int bind_it(VOLUME_DATA *self)
{
	return p2pbuf_bind(&self->ring, self->buf, self->fd, NULL,
			   &self->binding, &self->error);
}

/* As nobody: 0 when it is served, else the errno. */
static int bind_as_nobody(void *arg)
{
	const struct p2pbuf_bind_opts little = {
		.size = sizeof(little),
		.length = 4096,
	};
	struct p2pbuf_binding *binding = NULL;
	VOLUME_DATA *self = arg;
	int ret;

	/* Rings of different users share no slots, and his quota is small. */
	ret = p2pbuf_bind(NULL, self->buf, self->fd, &little, &binding, NULL);
	p2pbuf_unbind(binding);
	return -ret;
}

static void check_served(struct __test_metadata *_metadata, VOLUME_DATA *self,
			 unsigned int disks)
{
	struct ptf_pair pair = { .ring = &self->ring, .size = SIZE };
	const char *expect = getenv("P2PBUF_EXPECT_PATH"), *wrong;

	ASSERT_EQ(0, bind_it(self)) TH_LOG("%s", self->error.text);
	ASSERT_EQ(0, p2pbuf_bind_info(self->binding, &self->bound));
	TH_LOG("%s", self->bound.why);
	if (strcmp(self->bound.backend, "nvme")) {
		EXPECT_EQ(disks, self->bound.device_count);
		EXPECT_NE(0, self->bound.io_priority);
	}
	EXPECT_EQ(disks == 1, !strcmp(self->bound.backend, "nvme"));
	ASSERT_NE(NULL, expect);
	EXPECT_STREQ(expect, p2pbuf_path_name(self->bound.path.path));

	ASSERT_EQ(0, p2pbuf_map(self->buf, 0, 0, P2PBUF_READ | P2PBUF_WRITE,
				(void **)&self->vram));
	self->host = aligned_alloc(4096, SIZE);
	ASSERT_NE(NULL, self->host);
	pair.binding = self->binding;
	pair.vram = self->vram;
	pair.host = self->host;
	pair.block = self->bound.block_size;
	pair.align = self->bound.buf_align;
	pair.fd = self->fd;
	wrong = ptf_both_directions(&pair);
	EXPECT_EQ(NULL, wrong) TH_LOG("%s", wrong);
}

/* A bound file that turns to the page cache: right bytes, and it is told. */
static void check_journalled(struct __test_metadata *_metadata,
			     VOLUME_DATA *self)
{
	const char *expect = getenv("P2PBUF_EXPECT_PATH");
	struct p2pbuf_binding *binding = NULL;
	const unsigned int n = 65536;
	int flags, plain, i;

	ASSERT_EQ(0, ioctl(self->fd, FS_IOC_GETFLAGS, &plain));
	flags = plain | FS_JOURNAL_DATA_FL;
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, ioctl(self->fd, FS_IOC_SETFLAGS,
				   i ? &plain : &flags));
		ASSERT_EQ(0, p2pbuf_bind_info(self->binding, &self->bound));
		EXPECT_STREQ(i ? expect : "system",
			     p2pbuf_path_name(self->bound.path.path));
		EXPECT_EQ(!i, !!strstr(self->bound.why, "page cache"));
		TH_LOG("%s", self->bound.why);
		ptf_fill(self->host, n, 21 + i);
		ASSERT_EQ(n, ptf_host_io(self->fd, true, self->host, n, 0));
		memset(self->vram, PTF_POISON, 2 * n);
		EXPECT_EQ(n, ptf_io(&self->ring, self->binding, P2PBUF_READ, 0,
				    n, 0, 0));
		EXPECT_TRUE(ptf_only_these(self->vram, SIZE, 0, self->host, n));
		/* Who binds it now is refused, or not any more. */
		EXPECT_EQ(i ? 0 : -EMEDIUMTYPE,
			  p2pbuf_bind(&self->ring, self->buf, self->fd, NULL,
				      &binding, &self->error));
		p2pbuf_unbind(binding);
	}
}

/* What is refused works in host memory, for who accepts that. */
static void check_allowed(struct __test_metadata *_metadata, VOLUME_DATA *self)
{
	const struct p2pbuf_bind_opts allow = {
		.size = sizeof(allow),
		.flags = P2PBUF_ALLOW_SYSTEM,
	};
	const unsigned int n = 65536;

	self->error.text[0] = '\0';
	self->error.code = 0;
	ASSERT_EQ(0, p2pbuf_bind(&self->ring, self->buf, self->fd, &allow,
				 &self->binding, &self->error))
		TH_LOG("%s", self->error.text);
	EXPECT_EQ(0, self->error.code);
	ASSERT_EQ(0, p2pbuf_bind_info(self->binding, &self->bound));
	EXPECT_STREQ("system", p2pbuf_path_name(self->bound.path.path));
	ASSERT_EQ(0, p2pbuf_map(self->buf, 0, 0, P2PBUF_READ | P2PBUF_WRITE,
				(void **)&self->vram));
	self->host = aligned_alloc(4096, n);
	ASSERT_NE(NULL, self->host);
	ptf_fill(self->vram, n, 5);
	ASSERT_EQ(n, ptf_io(&self->ring, self->binding, P2PBUF_WRITE, 0, n, 0,
			    0));
	ASSERT_EQ(n, ptf_host_io(self->fd, false, self->host, n, 0));
	EXPECT_EQ(0, memcmp(self->host, self->vram, n));
	memset(self->vram, PTF_POISON, 2 * n);
	ASSERT_EQ(n, ptf_io(&self->ring, self->binding, P2PBUF_READ, 0, n, 0,
			    0));
	EXPECT_EQ(0, memcmp(self->host, self->vram, n));
	EXPECT_TRUE(ptf_is_all(self->vram + n, n, PTF_POISON));
}

TEST_F_TIMEOUT(volume, served_or_refused, 90)
{
	/* Root alone sees what device mapper does, and opens p2pbuf_nvme's node. */
	int hidden = variant->secret ? EPERM :
		     variant->disks ? 0 : EMEDIUMTYPE;

	EXPECT_EQ(hidden, pt_child(bind_as_nobody, self, true));
	if (variant->disks) {
		check_served(_metadata, self, variant->disks);
		if (variant->journals)
			check_journalled(_metadata, self);
		return;
	}
	ASSERT_EQ(-EMEDIUMTYPE, bind_it(self));
	EXPECT_EQ(NULL, self->binding);
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	EXPECT_NE(NULL, strstr(self->error.text, variant->says));
	if (variant->says_too)
		EXPECT_NE(NULL, strstr(self->error.text, variant->says_too));
	TH_LOG("%s", self->error.text);
	check_allowed(_metadata, self);
}

static void unmake(void)
{
	if (is_paged)
		ptr_rebind(&region);
}

int main(int argc, char **argv)
{
	struct ptf_stage stage = {};

	atexit(unmake);
	ptf_exporter(&stage);
	region = stage.region;
	is_paged = stage.is_paged;
	ptk_scale_limits();
	return test_harness_run(argc, argv);
}
