# cmake -DFILE=... -DRUN_PATH=... -P set_run_path.cmake: gives a program or library another run path, no longer than its own. One without a
# run path keeps none.
file(READ_ELF ${FILE} RUNPATH own CAPTURE_ERROR problem)
if(problem)
  message(FATAL_ERROR "${FILE}: ${problem}")
endif()
if(own)
  string(REPLACE ";" ":" own "${own}")
  file(RPATH_CHANGE FILE ${FILE} OLD_RPATH "${own}" NEW_RPATH "${RUN_PATH}")
endif()
