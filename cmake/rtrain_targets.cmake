# What every target of the tree shares: warnings, sanitizers, ccache, precompiled headers.

find_program(RTRAIN_CCACHE ccache)
if(RTRAIN_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # The sloppiness is what ccache asks for with precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${RTRAIN_CCACHE})
  add_compile_options($<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
endif()

add_library(rtrain_build_options INTERFACE)
target_compile_options(rtrain_build_options INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees overlaps and overflows inside std::string that are not there (GCC bugs 105329, 105651).
  target_compile_options(rtrain_build_options INTERFACE -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Unity builds: an anonymous namespace of an included source is taken for that of a header.
  target_compile_options(rtrain_build_options INTERFACE $<$<BOOL:${CMAKE_UNITY_BUILD}>:-Wno-subobject-linkage>)
  if(RTRAIN_SANITIZE)
    # What sanitizers add makes GCC 12 see uninitialised values and mismatched deletes in Asio and std::optional that are not there.
    target_compile_options(rtrain_build_options INTERFACE -Wno-mismatched-new-delete -Wno-maybe-uninitialized)
    if(RTRAIN_SANITIZE STREQUAL "thread")
      target_compile_options(rtrain_build_options INTERFACE -Wno-tsan)   # Asio's fences
    endif()
  endif()
endif()
if(RTRAIN_WERROR AND NOT RTRAIN_SANITIZE)
  target_compile_options(rtrain_build_options INTERFACE -Werror)
endif()
# What a program does not call does not travel with it.
target_compile_options(rtrain_build_options INTERFACE -ffunction-sections -fdata-sections)
target_link_options(rtrain_build_options INTERFACE -Wl,--gc-sections)
target_include_directories(rtrain_build_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(rtrain_build_options INTERFACE RTRAIN_VERSION="${PROJECT_VERSION}" BOOST_ASIO_NO_DEPRECATED JSON_USE_IMPLICIT_CONVERSIONS=0)
if(RTRAIN_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(RTRAIN_SANITIZE STREQUAL "fuzzer" AND NOT (CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 16))
  # Earlier ones know neither libstdc++'s views nor bindings in lambdas.
  message(FATAL_ERROR "RTRAIN_SANITIZE=fuzzer needs clang 16 or newer (apt: clang-16 libclang-rt-16-dev), not ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
elseif(RTRAIN_SANITIZE STREQUAL "fuzzer")  # clang: what the fuzz targets call tells libFuzzer where it goes
  # Without "function", whose check clang cannot assemble in coroutines ("a difference across sections").
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize=function -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(RTRAIN_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
endif()

# A precompiled header for everything without LibTorch: the first target compiles it, the others reuse it.
file(WRITE ${PROJECT_BINARY_DIR}/pch/plain.cpp "")
add_library(rtrain_pch STATIC ${PROJECT_BINARY_DIR}/pch/plain.cpp)
target_link_libraries(rtrain_pch PUBLIC rtrain_build_options)
target_precompile_headers(rtrain_pch PRIVATE
  <boost/asio.hpp> <boost/asio/experimental/awaitable_operators.hpp> <boost/system/result.hpp> <nlohmann/json.hpp>
  <chrono> <filesystem> <map> <memory> <optional> <set> <string> <variant> <vector>)

# For a source of the calling folder in whose place tests link a copy with faults planted in it: it must not share its object.
function(rtrain_object_of_its_own source)
  set_source_files_properties(${source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# rtrain_library(NAME DEPS ...): a static library of all .cpp files of the calling folder (not of its subfolders).
function(rtrain_library name)
  cmake_parse_arguments(ARG "" "" "DEPS;SOURCES" ${ARGN})
  if(NOT ARG_SOURCES)
    file(GLOB ARG_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  endif()
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC rtrain_build_options ${ARG_DEPS})
  target_precompile_headers(${name} REUSE_FROM rtrain_pch)
endfunction()
