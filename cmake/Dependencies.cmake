# Everything Tidelog links against, all of it from the distribution (see cmake/debian-packages.txt).
# Nothing is downloaded; a missing package is named together with the command that installs it.
function(tidelog_missing what package)
  message(FATAL_ERROR "${what} was not found. On Debian 12: apt-get install ${package} "
    "(or run tests/install-packages, which installs everything).")
endfunction()

find_package(Threads REQUIRED)
find_package(GTest QUIET)
include(GoogleTest)
find_package(PkgConfig QUIET)
if(NOT PkgConfig_FOUND)
  tidelog_missing("pkg-config" "pkg-config")
endif()

foreach(spec "fmt:libfmt-dev" "spdlog:libspdlog-dev" "FlatBuffers:libflatbuffers-dev"
             "zstd:libzstd-dev" "prometheus-cpp:prometheus-cpp-dev"
             "tomlplusplus:libtomlplusplus-dev" "nlohmann_json:nlohmann-json3-dev" "CLI11:libcli11-dev")
  string(REPLACE ":" ";" parts "${spec}")
  list(GET parts 0 name)
  list(GET parts 1 package)
  find_package(${name} QUIET)
  if(NOT ${name}_FOUND)
    tidelog_missing(${name} ${package})
  endif()
endforeach()
foreach(spec "liburing:liburing-dev" "libxxhash:libxxhash-dev" "liblz4:liblz4-dev" "libzstd:libzstd-dev"
             "zlib:zlib1g-dev" "snappy:libsnappy-dev"
             "cpp-httplib:libcpp-httplib-dev")
  string(REPLACE ":" ";" parts "${spec}")
  list(GET parts 0 name)
  list(GET parts 1 package)
  pkg_check_modules(${name} QUIET IMPORTED_TARGET ${name})
  if(NOT ${name}_FOUND)
    tidelog_missing(${name} ${package})
  endif()
endforeach()

find_program(TIDELOG_FLATC flatc)
if(NOT TIDELOG_FLATC)
  tidelog_missing("flatc, the FlatBuffers compiler," "flatbuffers-compiler")
endif()

# Asio is headers only and has no CMake package in Debian.
find_path(TIDELOG_ASIO_INCLUDE asio.hpp)
if(NOT TIDELOG_ASIO_INCLUDE)
  tidelog_missing("Asio" "libasio-dev")
endif()
add_library(tidelog_asio INTERFACE)
target_include_directories(tidelog_asio SYSTEM INTERFACE "${TIDELOG_ASIO_INCLUDE}")
# Separate compilation keeps Asio's implementation in one file (wire/transport/asio_impl.cc).
target_compile_definitions(tidelog_asio INTERFACE
  ASIO_STANDALONE ASIO_NO_DEPRECATED ASIO_SEPARATE_COMPILATION
  ASIO_HAS_CO_AWAIT ASIO_HAS_STD_COROUTINE)
target_link_libraries(tidelog_asio INTERFACE Threads::Threads)
