# `cmake --install build/release`: the library with its headers, a pkg-config file and a CMake package, and the program
# with its man page and its completion for bash. Headers lie under include/tessera in the rooms of the source tree:
#     #include <tessera/models/tokenizer.h>
include(CMakePackageConfigHelpers)

set(tessera_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tessera)
target_include_directories(tessera INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
                                             $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/tessera>)
set_target_properties(tessera PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})

install(TARGETS tessera EXPORT tessera ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT tessera NAMESPACE tessera:: FILE tesseraTargets.cmake DESTINATION ${tessera_cmake_dir})
foreach(room core core/files config autograd layers quant models)
    file(GLOB headers CONFIGURE_DEPENDS ${room}/*.h ${room}/*.def)
    list(FILTER headers EXCLUDE REGEX "_internal\\.h$")
    install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tessera/${room})
endforeach()

# What a static library needs at its user's link, and a shared one has found already.
if(BUILD_SHARED_LIBS)
    set(tessera_requires "")
    set(tessera_libs "")
    set(tessera_shared TRUE)
else()
    set(tessera_requires "hdf5 yaml-0.1 jansson libxxhash libpng libjpeg libprotobuf-c zlib")
    get_filename_component(dnnl_folder ${DNNL_LIBRARY} DIRECTORY)
    set(tessera_libs "-L${dnnl_folder} -ldnnl ${OpenMP_C_FLAGS} -pthread -ldl -lm")
    set(tessera_shared FALSE)
endif()
string(REGEX REPLACE "[^/]+" ".." tessera_pc_to_prefix ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
configure_file(cmake/tessera.pc.in tessera.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tessera.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

configure_package_config_file(cmake/tesseraConfig.cmake.in tesseraConfig.cmake INSTALL_DESTINATION ${tessera_cmake_dir})
write_basic_package_version_file(tesseraConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tesseraConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/tesseraConfigVersion.cmake
        DESTINATION ${tessera_cmake_dir})

install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(TARGET tessera_program)
    if(BUILD_SHARED_LIBS)
        file(RELATIVE_PATH to_libraries /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
        set_target_properties(tessera_program PROPERTIES INSTALL_RPATH "$ORIGIN/${to_libraries}")
    endif()
    install(TARGETS tessera_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    # The program writes its own manual, from the tables that its commands are checked against.
    add_custom_command(TARGET tessera_program POST_BUILD VERBATIM
        COMMAND tessera_program config --man > ${CMAKE_CURRENT_BINARY_DIR}/tessera.1
        COMMAND tessera_program config --completion=bash > ${CMAKE_CURRENT_BINARY_DIR}/tessera.bash)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tessera.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tessera.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
            RENAME tessera)
endif()
