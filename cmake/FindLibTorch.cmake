# Finds LibTorch without its own TorchConfig.cmake, which demands nvcc for the CUDA wheel.
#
# Looks in RTRAIN_TORCH_ROOT (a libtorch/ tree, a torch/ package folder or its site-packages), then where scripts/deps puts the wheel.
# Makes LibTorch::torch; sets LibTorch_VERSION, RTRAIN_TORCH_LIB_DIRS, RTRAIN_TORCH_PYTHON (of the wheel, for reference tests).

set(_candidates)
if(RTRAIN_TORCH_ROOT)
  list(APPEND _candidates ${RTRAIN_TORCH_ROOT} ${RTRAIN_TORCH_ROOT}/torch)
else()
  if(DEFINED ENV{XDG_CACHE_HOME})
    set(_cache $ENV{XDG_CACHE_HOME})
  else()
    set(_cache $ENV{HOME}/.cache)
  endif()
  file(GLOB _candidates ${_cache}/rtrain/python-2.11.0/lib/python3*/site-packages/torch)
endif()

find_path(LibTorch_INCLUDE_DIR torch/csrc/api/include/torch/torch.h PATHS ${_candidates} PATH_SUFFIXES include NO_DEFAULT_PATH)
find_library(LibTorch_LIBRARY torch PATHS ${_candidates} PATH_SUFFIXES lib NO_DEFAULT_PATH)
find_library(LibTorch_CPU_LIBRARY torch_cpu PATHS ${_candidates} PATH_SUFFIXES lib NO_DEFAULT_PATH)
find_library(LibTorch_C10_LIBRARY c10 PATHS ${_candidates} PATH_SUFFIXES lib NO_DEFAULT_PATH)
find_library(LibTorch_CUDA_LIBRARY torch_cuda PATHS ${_candidates} PATH_SUFFIXES lib NO_DEFAULT_PATH)
find_library(LibTorch_C10_CUDA_LIBRARY c10_cuda PATHS ${_candidates} PATH_SUFFIXES lib NO_DEFAULT_PATH)
mark_as_advanced(LibTorch_INCLUDE_DIR LibTorch_LIBRARY LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_CUDA_LIBRARY LibTorch_C10_CUDA_LIBRARY)

foreach(_header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(LibTorch_INCLUDE_DIR AND EXISTS ${LibTorch_INCLUDE_DIR}/${_header} AND NOT LibTorch_VERSION)
    file(READ ${LibTorch_INCLUDE_DIR}/${_header} _text)
    if(_text MATCHES "TORCH_VERSION_MAJOR ([0-9]+).*TORCH_VERSION_MINOR ([0-9]+).*TORCH_VERSION_PATCH ([0-9]+)")
      set(LibTorch_VERSION ${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3})
    endif()
  endif()
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch REQUIRED_VARS LibTorch_LIBRARY LibTorch_INCLUDE_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "LibTorch was not found. Run scripts/deps (installs the torch wheel, about 5 GiB), or pass -DRTRAIN_TORCH_ROOT=DIR, or build without the worker: -DRTRAIN_WITH_TORCH=OFF")

if(LibTorch_FOUND AND NOT TARGET LibTorch::torch)
  get_filename_component(_lib_dir ${LibTorch_LIBRARY} DIRECTORY)
  get_filename_component(_package ${_lib_dir} DIRECTORY)
  get_filename_component(_site ${_package} DIRECTORY)
  set(RTRAIN_TORCH_LIB_DIRS ${_lib_dir})
  add_library(LibTorch::torch INTERFACE IMPORTED)
  set_target_properties(LibTorch::torch PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${LibTorch_INCLUDE_DIR};${LibTorch_INCLUDE_DIR}/torch/csrc/api/include"
    INTERFACE_COMPILE_FEATURES cxx_std_20
    INTERFACE_COMPILE_DEFINITIONS "USE_DISTRIBUTED;USE_C10D_GLOO")
  # libstdc++ first: the wheel's libraries show a std::filesystem of their own, and its remove_all() crashes when it comes before the real one.
  target_link_libraries(LibTorch::torch INTERFACE "-Wl,--push-state,--no-as-needed" stdc++ "-Wl,--pop-state"
    ${LibTorch_LIBRARY} ${LibTorch_CPU_LIBRARY} ${LibTorch_C10_LIBRARY})
  # The CUDA wheel: NCCL and CUDA headers come as packages beside it. Compiles and links with no CUDA toolkit on the machine.
  set(RTRAIN_WITH_NCCL OFF)
  if(LibTorch_CUDA_LIBRARY AND LibTorch_C10_CUDA_LIBRARY)
    file(GLOB _cuda_include ${_site}/nvidia/cu1*/include ${_site}/nvidia/cuda_runtime/include)
    set(_nccl_include ${_site}/nvidia/nccl/include)
    if(_cuda_include AND EXISTS ${_nccl_include}/nccl.h)
      set(RTRAIN_WITH_NCCL ON)
      target_include_directories(LibTorch::torch SYSTEM INTERFACE ${_cuda_include} ${_nccl_include})
      target_compile_definitions(LibTorch::torch INTERFACE USE_C10D_NCCL RTRAIN_WITH_NCCL=1)
    endif()
    # --no-as-needed: nothing may name a CUDA symbol, but the kernels must be there when a GPU is.
    target_link_libraries(LibTorch::torch INTERFACE -Wl,--no-as-needed ${LibTorch_CUDA_LIBRARY} -Wl,--as-needed ${LibTorch_C10_CUDA_LIBRARY})
  endif()
  if(EXISTS ${_site}/../../../bin/python3)
    get_filename_component(RTRAIN_TORCH_PYTHON ${_site}/../../../bin/python3 ABSOLUTE)
  endif()
  message(STATUS "LibTorch ${LibTorch_VERSION} in ${_package} (NCCL ${RTRAIN_WITH_NCCL})")
endif()
