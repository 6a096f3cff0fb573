# What `cmake --install BUILD --component client` installs: the public headers, one static library that holds the
# client and the parts of wire/ and base/ beneath it, a CMake package, a pkg-config file, and the examples.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# "library:Debian package" that the static library needs where a program is linked.
set(TIDELOG_CLIENT_LIBRARIES
  fmt:libfmt-dev xxhash:libxxhash-dev z:zlib1g-dev snappy:libsnappy-dev lz4:liblz4-dev zstd:libzstd-dev)
set(TIDELOG_CLIENT_LIBRARIES "${TIDELOG_CLIENT_LIBRARIES}" PARENT_SCOPE)  # for the package

# Without base/logging.cc, which only the broker uses, and with it the need for spdlog.
add_library(tidelog_client_package STATIC
  $<TARGET_OBJECTS:tidelog_client> $<TARGET_OBJECTS:tidelog_wire> $<TARGET_OBJECTS:tidelog_transport>
  $<FILTER:$<TARGET_OBJECTS:tidelog_base>,EXCLUDE,/logging[.]cc>)
set_target_properties(tidelog_client_package PROPERTIES
  LINKER_LANGUAGE CXX OUTPUT_NAME tidelog-client EXPORT_NAME client
  ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/package")
target_compile_features(tidelog_client_package INTERFACE cxx_std_20)
# A target that TidelogConfig.cmake makes.
target_link_libraries(tidelog_client_package INTERFACE $<INSTALL_INTERFACE:tidelog::client_dependencies>)

set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/Tidelog")
install(TARGETS tidelog_client_package EXPORT TidelogTargets COMPONENT client
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT TidelogTargets NAMESPACE tidelog:: DESTINATION "${config_dir}" COMPONENT client)
install(DIRECTORY include/tidelog DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT client FILES_MATCHING PATTERN "*.h")
install(DIRECTORY examples DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/tidelog-dev" COMPONENT client)

configure_package_config_file(package/TidelogConfig.cmake.in "${CMAKE_CURRENT_BINARY_DIR}/package/TidelogConfig.cmake"
  INSTALL_DESTINATION "${config_dir}")
# Before 1.0 a minor version may break what was there.
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/package/TidelogConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/package/TidelogConfig.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/package/TidelogConfigVersion.cmake"
  DESTINATION "${config_dir}" COMPONENT client)

# Paths from the file itself, so that the installed tree may be moved.
set(pc_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
file(RELATIVE_PATH TIDELOG_PC_PREFIX "/prefix/${pc_dir}" "/prefix")
string(REGEX REPLACE "([^:;]+):[^;]+;?" "-l\\1 " TIDELOG_PC_LIBRARIES "${TIDELOG_CLIENT_LIBRARIES}")
string(STRIP "${TIDELOG_PC_LIBRARIES}" TIDELOG_PC_LIBRARIES)
configure_file(package/tidelog-client.pc.in "${CMAKE_CURRENT_BINARY_DIR}/package/tidelog-client.pc" @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/package/tidelog-client.pc" DESTINATION "${pc_dir}" COMPONENT client)
