# Refuses compilers that are known to miscompile Tidelog, before any source is built.
#
# g++ 12 (Debian 12's default) destroys temporaries twice inside co_await expressions and has no
# std::expected for every header we need; clang 19 with the system's libstdc++ has neither problem.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  message(FATAL_ERROR
    "Tidelog needs clang 19 or later, or g++ 14 or later; this is g++ ${CMAKE_CXX_COMPILER_VERSION}.\n"
    "On Debian 12: apt-get install clang-19 lld-19, then configure with a preset "
    "(cmake --preset release), which names clang++-19.")
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 19)
  message(FATAL_ERROR
    "Tidelog needs clang 19 or later; this is clang ${CMAKE_CXX_COMPILER_VERSION}.\n"
    "On Debian 12: apt-get install clang-19 lld-19, then configure with a preset "
    "(cmake --preset release), which names clang++-19.")
elseif(NOT CMAKE_CXX_COMPILER_ID MATCHES "^(GNU|Clang)$")
  message(FATAL_ERROR
    "Tidelog is built with clang 19 or g++ 14; ${CMAKE_CXX_COMPILER_ID} is not supported.")
endif()
if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux" OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|aarch64)$")
  message(FATAL_ERROR "Tidelog runs on 64-bit little-endian Linux; this is "
    "${CMAKE_SYSTEM_NAME} on ${CMAKE_SYSTEM_PROCESSOR}.")
endif()
