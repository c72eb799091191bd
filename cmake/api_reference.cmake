# The reference of the public headers, as Markdown in the build folder: docs/api/index.md. Where doxygen is there
# (scripts/deps --checks), a build writes it anew when a header has changed.
find_program(RTRAIN_DOXYGEN doxygen)
find_package(Python3 COMPONENTS Interpreter)
if(RTRAIN_DOXYGEN AND Python3_FOUND)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/worker/include/rtrain/*.h)
  set(script ${PROJECT_SOURCE_DIR}/scripts/api-reference)
  add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/docs/api/index.md COMMAND ${Python3_EXECUTABLE} -B ${script} ${PROJECT_BINARY_DIR}/docs/api
    DEPENDS ${headers} ${script} COMMENT "Writing the reference of the public headers" VERBATIM)
  add_custom_target(api_reference ALL DEPENDS ${PROJECT_BINARY_DIR}/docs/api/index.md)
endif()
