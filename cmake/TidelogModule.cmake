# One function declares a module, one declares its tests. A module's name is its folder; what it may
# depend on is fixed in tests/check_includes.py and tested there.
option(TIDELOG_BUILD_TESTS "Build the tests" ON)
option(TIDELOG_BUILD_BENCH "Build the benchmarks" ON)
option(TIDELOG_FUZZ "Build the libFuzzer targets (needs clang)" OFF)
option(TIDELOG_CLANG_TIDY "Run clang-tidy on every compiled file" OFF)
set(TIDELOG_SANITIZE "" CACHE STRING "Sanitizers: 'address,undefined', 'thread' or empty")

find_program(TIDELOG_CCACHE ccache)
if(TIDELOG_CCACHE)
  # Paths relative to the checkout, so that a clone elsewhere finds what another one compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}" CCACHE_NOHASHDIR=1 "${TIDELOG_CCACHE}")
endif()
if(TIDELOG_CLANG_TIDY)
  find_program(TIDELOG_TIDY NAMES clang-tidy-19 REQUIRED)
  set(CMAKE_CXX_CLANG_TIDY "${TIDELOG_TIDY};--quiet")
endif()

set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

add_library(tidelog_flags INTERFACE)
target_include_directories(tidelog_flags INTERFACE "${CMAKE_SOURCE_DIR}" "${CMAKE_BINARY_DIR}/generated")
target_compile_options(tidelog_flags INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wimplicit-fallthrough
  -Woverloaded-virtual -Wunused -Werror -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(tidelog_flags INTERFACE -Wshorten-64-to-32 -Wthread-safety)
  target_link_options(tidelog_flags INTERFACE -fuse-ld=lld-19)
endif()
# For every program of the tree: a sanitizer that sees a part only reports what is not so.
add_library(tidelog_sanitizers INTERFACE)
if(TIDELOG_SANITIZE)
  target_compile_options(tidelog_sanitizers INTERFACE "-fsanitize=${TIDELOG_SANITIZE}")
  target_link_options(tidelog_sanitizers INTERFACE "-fsanitize=${TIDELOG_SANITIZE}")
  if(TIDELOG_SANITIZE MATCHES "undefined")
    target_compile_options(tidelog_sanitizers INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()
target_link_libraries(tidelog_flags INTERFACE tidelog_sanitizers)
if(TIDELOG_FUZZ)
  target_compile_options(tidelog_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# tidelog_module(NAME name SOURCES file... [PUBLIC target...] [PRIVATE target...])
# Declares the static library tidelog_<name> (alias tidelog::<name>) of the current folder.
function(tidelog_module)
  cmake_parse_arguments(M "" "NAME" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  if(M_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "tidelog_module(${M_NAME}): unknown words ${M_UNPARSED_ARGUMENTS}")
  endif()
  add_library(tidelog_${M_NAME} STATIC ${M_SOURCES})
  add_library(tidelog::${M_NAME} ALIAS tidelog_${M_NAME})
  target_link_libraries(tidelog_${M_NAME} PUBLIC ${M_PUBLIC} PRIVATE tidelog_flags ${M_PRIVATE})
  target_include_directories(tidelog_${M_NAME} PUBLIC
    "$<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>" "$<BUILD_INTERFACE:${CMAKE_BINARY_DIR}/generated>")
endfunction()

# tidelog_test(NAME name [SIMULATED] SOURCES file... DEPENDS target...)
# Declares the GoogleTest program <name>; each of its tests is a ctest test. SIMULATED: the tests run in one
# thread, so that ThreadSanitizer has nothing to see in them (tests/run leaves them out there).
function(tidelog_test)
  cmake_parse_arguments(T "SIMULATED" "NAME" "SOURCES;DEPENDS" ${ARGN})
  set(labels threaded)
  if(T_SIMULATED)
    set(labels simulated)
  endif()
  add_executable(${T_NAME} ${T_SOURCES})
  target_link_libraries(${T_NAME} PRIVATE tidelog_flags ${T_DEPENDS} GTest::gmock GTest::gtest GTest::gtest_main)
  if(T_SIMULATED AND TIDELOG_SANITIZE STREQUAL "thread")
    # One thread has no races to find; building it costs half of the time.
    set_target_properties(${T_NAME} PROPERTIES EXCLUDE_FROM_ALL ON)
    return()
  endif()
  gtest_discover_tests(${T_NAME} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 300 LABELS ${labels})
endfunction()

# tidelog_fuzz(NAME name SOURCES file... DEPENDS target...)
# Declares the libFuzzer program <name>, part of the target fuzz_targets; nothing unless TIDELOG_FUZZ is on.
function(tidelog_fuzz)
  if(NOT TIDELOG_FUZZ)
    return()
  endif()
  cmake_parse_arguments(F "" "NAME" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${F_NAME} ${F_SOURCES})
  target_link_libraries(${F_NAME} PRIVATE tidelog_flags ${F_DEPENDS} -fsanitize=fuzzer)
  if(NOT TARGET fuzz_targets)
    add_custom_target(fuzz_targets)
  endif()
  add_dependencies(fuzz_targets ${F_NAME})
endfunction()
