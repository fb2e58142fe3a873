# cuda.mk - where the CUDA backend is built and where it is not, its objects, and its sources once more on an emulated device. Part of the
# Makefile.
# CUDA=auto: where nvcc is. CUDA_ARCH: native, or a list of compute capabilities; PTX of the last one is added for what comes after.
NVCC ?= $(firstword $(wildcard $(CUDA_HOME)/bin/nvcc /usr/local/cuda/bin/nvcc) $(shell command -v nvcc 2>/dev/null))
CUDA_ARCH ?= 80 90
WITH_CUDA := $(if $(filter 0,$(CUDA)),,$(if $(filter asan,$(CONFIG)),,$(NVCC)))
ifneq ($(filter-out auto 0 1,$(CUDA)),)
$(error CUDA=$(CUDA): choose auto, 0 or 1)
endif
ifeq ($(CUDA)$(WITH_CUDA),1)
$(error CUDA=1: nvcc was not found (or CONFIG=asan); install the CUDA toolkit, set CUDA_HOME or NVCC, or use CUDA=auto)
endif
ifeq ($(strip $(CUDA_ARCH)),)
$(error CUDA_ARCH is empty: choose native, or compute capabilities such as CUDA_ARCH="80 90")
endif
# Without a GPU nvcc only warns and takes a default of its own, too old for these sources.
ifneq ($(if $(WITH_CUDA),$(filter native,$(CUDA_ARCH))),)
ifneq ($(findstring Cannot find valid GPU,$(shell $(WITH_CUDA) -arch=native --dryrun -c -x cu /dev/null -o /dev/null 2>&1)),)
$(error CUDA_ARCH=native: nvcc finds no GPU on this machine; give the compute capability of the one you mean, such as CUDA_ARCH=90)
endif
endif

# A program that finds its libraries, and they each other, beside it.
ifeq ($(PACK),1)
LDOPT += -Wl,--disable-new-dtags -Wl,-rpath,'$$ORIGIN/../lib'
endif
CU := $(wildcard harness/kernels/cuda/*.cu)
ifneq ($(WITH_CUDA),)
CUDA_O := $(CU:%.cu=$(B)/%.o)
CUDA_LIBS := $(dir $(WITH_CUDA))../lib64/libcudart_static.a -lpthread -ldl -lrt
GENCODE := $(if $(filter native,$(CUDA_ARCH)),-arch=native,$(foreach a,$(CUDA_ARCH),-gencode arch=compute_$a,code=sm_$a) \
	-gencode arch=compute_$(lastword $(CUDA_ARCH)),code=compute_$(lastword $(CUDA_ARCH)))
else
CUDA_O := $(B)/harness/kernels/cuda_absent.o
endif
# The CUDA sources once more, as C++ on an emulated device: every kernel runs in the tests of a machine without a GPU.
EMULATED_O := $(CU:%.cu=$(B)/emulated/%.o) $(B)/emulated/tests/support/cuda/emulation.o
ifeq ($(CONFIG),asan) # the sanitizer does not follow the fibers of the emulated device
NO_TESTS := tests/test_cuda_emulated.c
endif

.PHONY: test-cuda gpu-pack
test-cuda:
	@$(MAKE) --no-print-directory -j2 CUDA=1 $(B)/tests/test_cuda
	@CUDA_REQUIRED=1 $(B)/tests/test_cuda
gpu-pack: deps
	@$(MAKE) --no-print-directory -j2 CUDA=1 B=build/gpu PACK=1 build/gpu/infinibench build/gpu/tests/test_cuda
	@scripts/gpu_pack.sh build/gpu

$(B)/emulated/%.o: %.cu $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CXX) $(CXXFLAGS_ALL) -Itests/support/cuda -x c++ -c -o $@ $<
$(B)/emulated/%.o: %.cc $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CXX) $(CXXFLAGS_ALL) -Itests/support/cuda -c -o $@ $<
$(B)/%.o: %.cu $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(WITH_CUDA) -std=c++17 -O3 -lineinfo --extended-lambda $(GENCODE) -Xcompiler -Wall -I. -MMD -MP -MF $(@:.o=.d) -c -o $@ $<
