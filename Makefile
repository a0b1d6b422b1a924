# SPDX-License-Identifier: GPL-2.0
#
# Everything a person or a script calls.  `make help` lists it.
#
# Builds run in a Debian root made by `make setup` (ci/in-root), never with the
# host's compiler: the kernel's headers fix the compiler, and the guest of
# `make check` runs what was built.  Products go to BUILD, downloads to the
# cache (ci/lib.sh).

BUILD	?= $(CURDIR)/build
PREFIX	?= /usr/local
DESTDIR	?=
TOPO	?=
TEST	?=
TESTS	?=
QUICK	?=
V	?=
override BUILD := $(abspath $(BUILD))
export BUILD KVER KERNEL UPDATE MIRROR SECURITY ACCEL JOBS V

IN_ROOT	:= ci/in-root
SUBMAKE	 = $(IN_ROOT) $(MAKE_CMD)
MAKE_CMD := make --no-print-directory -j$(shell nproc) $(if $(V),V=$(V))
QUIET	:= $(if $(V),,-s)
KDIR	 = $$(ci/kernel kdir)
KREL	 = $$(ci/kernel release)

# A part that is there is built, and must build.
HAVE_LIB	:= $(wildcard libp2pbuf/Makefile)
HAVE_EXAMPLES	:= $(wildcard examples/Makefile)
HAVE_SELFTESTS	:= $(wildcard selftests/Makefile)

.PHONY: all
all: modules lib examples selftests

.PHONY: help
help:
	@echo 'make demo              NVMe to VRAM and back in a guest, with its story'
	@echo 'make demo-rdma         one guest'\''s NVMe to the VRAM of another, by RDMA'
	@echo 'make check             every test in every topology'
	@echo '  TOPO=bus,swiotlb       only these topologies ($(notdir $(basename $(wildcard ci/topologies/*.conf))))'
	@echo '  TEST=nvme_data         only this test (a list, or shell patterns)'
	@echo 'make check-debug       the same and the demos on a kernel with KASAN, lockdep, ...'
	@echo '  QUICK=1                only what ci/debug.tests lists, as continuous integration'
	@echo 'make check-rdma        RDMA between two guests: lost packets, link down'
	@echo 'make check-external    suites of others: pyverbs, perftest, rping'
	@echo 'make soak HOURS=1      tests by chance, until the time is over (SEED=, ROUND=)'
	@echo 'make fuzz CALLS=n       calls by chance on that kernel (SEED=, SECONDS=, STOCK=1)'
	@echo 'make fuzz-lib          libFuzzer on what the library parses (SECONDS=)'
	@echo 'make bench             instructions per I/O, bytes per second, build/bench/*.tsv'
	@echo 'make style             checkpatch, sparse, W=1, kernel-doc, analyser, uapi alone'
	@echo 'make shell TOPO=bus    a guest to play with'
	@echo
	@echo 'make setup             build root, kernel and test harness, into the cache'
	@echo 'make modules lib examples selftests initramfs'
	@echo 'make install           library, headers, man pages, udev rule (PREFIX=, DESTDIR=)'
	@echo 'make modules_install   modules of kernel KVER (DESTDIR=)'
	@echo 'make clean             removes build/;  distclean: the cache too'
	@echo
	@echo 'KVER=7.3.4+deb13-amd64   another kernel than the one set-up picked'
	@echo 'BUILD=/some/where        products elsewhere: several people, one checkout'

.PHONY: setup
setup:
	@ci/setup

# ---- what is built -----------------------------------------------------------

.PHONY: modules
modules: setup
	@mkdir -p $(BUILD)/modules
	@ci/kernel same $(BUILD)/modules || rm -rf $(BUILD)/modules/*
	@$(SUBMAKE) -C $(KDIR) M=$(CURDIR)/kernel MO=$(BUILD)/modules \
		$(if $(PARTS),PARTS="$(PARTS)") modules
	@ci/kernel stamp $(BUILD)/modules

# Installed to a fresh folder and swapped in only if it differs: whoever uses
# the installed library is built again then, and only then.
.PHONY: lib
lib: setup
ifneq ($(HAVE_LIB),)
	@$(SUBMAKE) $(QUIET) -C $(CURDIR)/libp2pbuf O=$(BUILD)/lib all
	@rm -rf $(BUILD)/stage.new
	@$(SUBMAKE) $(QUIET) -C $(CURDIR)/libp2pbuf O=$(BUILD)/lib install \
		PREFIX=/usr/local DESTDIR=$(BUILD)/stage.new >/dev/null
	@if diff -rq $(BUILD)/stage $(BUILD)/stage.new >/dev/null 2>&1; then \
		rm -rf $(BUILD)/stage.new; \
	else \
		rm -rf $(BUILD)/stage $(BUILD)/examples $(BUILD)/selftests/lib_*; \
		mv $(BUILD)/stage.new $(BUILD)/stage; \
	fi
endif

.PHONY: examples
examples: lib
ifneq ($(HAVE_EXAMPLES),)
	@$(SUBMAKE) $(QUIET) -C $(CURDIR)/examples O=$(BUILD)/examples
endif

.PHONY: selftests
selftests: lib
ifneq ($(HAVE_SELFTESTS),)
	@$(SUBMAKE) $(QUIET) -C $(CURDIR)/selftests O=$(BUILD)/selftests \
		KSFT=$$(ci/kernel source)/tools/testing/selftests UAPI=$(CURDIR)/uapi
	@[ ! -e selftests/bench/Makefile ] || \
		$(SUBMAKE) $(QUIET) -C $(CURDIR)/selftests/bench O=$(BUILD)/bench UAPI=$(CURDIR)/uapi \
		KSFT=$$(ci/kernel source)/tools/testing/selftests
	@mkdir -p $(BUILD)/nic
	@ci/kernel same $(BUILD)/nic || rm -rf $(BUILD)/nic/*
	@$(SUBMAKE) $(QUIET) -C $(CURDIR)/selftests/nic O=$(BUILD)/nic KDIR=$(KDIR) \
		RXE=$$(ci/kernel source)/drivers/infiniband/sw/rxe
	@ci/kernel stamp $(BUILD)/nic
endif

.PHONY: initramfs
initramfs: modules lib examples selftests
	@ci/initramfs

# ---- what is run -------------------------------------------------------------

.PHONY: check
check: initramfs
	@ci/check $(if $(TOPO),-t '$(TOPO)') $(if $(TEST),-n '$(TEST)') \
		$(if $(TESTS),-f '$(TESTS)')

# The kernel with the checkers is built once, into the cache.
.PHONY: check-debug
check-debug: setup
	@ci/check-debug $(if $(QUICK),quick,$(if $(TOPO),-t '$(TOPO)') \
		$(if $(TEST),-n '$(TEST)') $(if $(TESTS),-f '$(TESTS)'))

# Two guests, and a network that is not well.
.PHONY: check-rdma
check-rdma: initramfs
	@ci/check-rdma $(if $(TOPO),-t '$(TOPO)')

# Suites of others, unmodified, over the test NIC.
.PHONY: check-external
check-external: initramfs
	@ci/setup external
	@ci/external $(if $(TOPO),-t '$(TOPO)')

.PHONY: soak
soak: initramfs
	@ci/check-debug build
	@ci/soak $(if $(HOURS),-h '$(HOURS)') $(if $(SEED),-s '$(SEED)') \
		$(if $(ROUND),-r '$(ROUND)')

.PHONY: fuzz
fuzz: $(if $(STOCK),initramfs,setup)
	@ci/fuzz $(if $(CALLS),-n '$(CALLS)') $(if $(SECONDS),-t '$(SECONDS)') \
		$(if $(SEED),-s '$(SEED)') $(if $(STOCK),-k) \
		$(if $(ARGS),-- $(ARGS))

.PHONY: fuzz-lib
fuzz-lib:
	@ci/setup style
	@mkdir -p $(BUILD)/fuzz-lib
	@$(SUBMAKE) $(QUIET) -C $(CURDIR)/libp2pbuf/fuzz O=$(BUILD)/fuzz-lib \
		$(if $(SECONDS),SECONDS='$(SECONDS)') $(if $(SEED),SEED='$(SEED)') run

.PHONY: demo
# Its last line is `demo: ...` even if nothing could be built.
demo:
	@$(MAKE) --no-print-directory initramfs || { \
		echo 'demo: FAIL set-up or build failed, see above'; exit 1; }
	@ci/demo $(if $(TOPO),-t '$(TOPO)')

.PHONY: demo-rdma
demo-rdma:
	@$(MAKE) --no-print-directory initramfs || { \
		echo 'demo-rdma: FAIL set-up or build failed, see above'; exit 1; }
	@ci/demo-rdma $(if $(TOPO),-t '$(TOPO)')

.PHONY: bench
bench: initramfs
	@ci/bench $(if $(TOPO),-t '$(TOPO)')

.PHONY: shell
shell: initramfs
	@ci/vm -i $(or $(TOPO),bus)

.PHONY: style
style: lib
	@ci/setup style
	@ci/style

# ---- what is installed -------------------------------------------------------

# Made inside the build root, then copied as it is: nothing is compiled or
# linked with the host's tools.
.PHONY: install
install: lib
ifneq ($(HAVE_LIB),)
	@rm -rf $(BUILD)/install
	@$(SUBMAKE) $(QUIET) -C $(CURDIR)/libp2pbuf O=$(BUILD)/lib install \
		PREFIX=$(PREFIX) DESTDIR=$(BUILD)/install
endif
	@install -D -m 644 udev/60-p2pbuf.rules \
		$(BUILD)/install/usr/lib/udev/rules.d/60-p2pbuf.rules
	@mkdir -p '$(DESTDIR)/'
	@tar -C $(BUILD)/install -c . | \
		tar -C '$(DESTDIR)/' -x --no-same-owner --no-overwrite-dir \
			--keep-directory-symlink
	@[ -n '$(DESTDIR)' ] || ldconfig

# Not the mock and the example: they are for tests and for reading.
.PHONY: modules_install
modules_install: modules
	@[ -n '$(DESTDIR)' ] || [ "$(KREL)" = "$$(uname -r)" ] || { \
		echo "modules_install: this machine runs $$(uname -r), the modules" \
		     "are for $(KREL): give KVER= or DESTDIR=" >&2; exit 1; }
	@for ko in $$(find $(BUILD)/modules -name '*.ko' \
			-not -path '*/mock/*' -not -path '*/example/*'); do \
		install -D -m 644 -t "$(DESTDIR)/lib/modules/$(KREL)/updates/p2pbuf" $$ko; \
	done
	@[ -n '$(DESTDIR)' ] || depmod "$(KREL)"

.PHONY: clean
clean:
	rm -rf $(BUILD)

.PHONY: distclean
distclean: clean
	@ci/setup distclean
