# header_check: every header compiles by itself, without a precompiled one to lean on. Those of the SDK lean on
# LibTorch's, whose own headers would take half a minute each.
function(rtrain_header_check name)
  cmake_parse_arguments(ARG "" "" "FOLDERS;DEPS;EXCEPT" ${ARGN})
  set(sources)
  foreach(folder ${ARG_FOLDERS})
    file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/${folder}/*.h)
    foreach(header ${headers})
      string(REPLACE "/" "_" unit ${header})
      set(source ${PROJECT_BINARY_DIR}/header_check/${unit}.cpp)
      file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${header}\"\n#include \"${header}\"\n")
      list(APPEND sources ${source})
    endforeach()
  endforeach()
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${sources})
  set_target_properties(${name} PROPERTIES UNITY_BUILD OFF       # one would lean on another
    OPTIMIZE_DEPENDENCIES ON)   # nothing is linked
  target_link_libraries(${name} PRIVATE ${ARG_DEPS})
  add_dependencies(header_check ${name})
endfunction()

add_custom_target(header_check)
rtrain_header_check(header_check_plain FOLDERS common proto daemon cli worker/runtime worker/supervision
                    DEPS rtrain_embedded rtrain_cli rtrain_runtime rtrain_supervision)
if(RTRAIN_WITH_TORCH)
  file(GLOB rooms LIST_DIRECTORIES true RELATIVE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/worker/*)
  list(FILTER rooms EXCLUDE REGEX "/(CMakeLists.txt|runtime|supervision)$")   # those above
  rtrain_header_check(header_check_sdk FOLDERS ${rooms} DEPS rtrain_runtime rtrain::rtrain)
  rtrain_use_sdk_pch(header_check_sdk)
  target_compile_definitions(header_check_sdk PRIVATE RTRAIN_BUILDING_SDK)
endif()
